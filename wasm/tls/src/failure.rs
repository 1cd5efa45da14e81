//! Why a connection failed, in words and as a code that programs can tell apart.

use rustls::{AlertDescription, CertificateError, Error};

/// The kind of a failure. The texts of programs are those of Node, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The certificate is not valid any more.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for other names.
    WrongName,
    /// No trusted root has signed it.
    UnknownIssuer,
    /// The certificate is wrong in another way.
    BadCertificate,
    /// The two have no version, cipher or protocol in common, or one broke the rules.
    Protocol,
    /// The connection ended without a closure alert (RFC 8446 section 6.1): data may be missing.
    Truncated,
}

impl Code {
    /// What a program sees as `code`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "CERT_HAS_EXPIRED",
            Self::NotYetValid => "CERT_NOT_YET_VALID",
            Self::WrongName => "ERR_TLS_CERT_ALTNAME_INVALID",
            Self::UnknownIssuer => "UNABLE_TO_GET_ISSUER_CERT",
            Self::BadCertificate => "CERT_REJECTED",
            Self::Protocol => "EPROTO",
            Self::Truncated => "ECONNRESET",
        }
    }
}

/// A connection's failure. Final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub code: Code,
    /// What happened, for a person.
    pub message: String,
}

impl Failure {
    /// The end without a closure alert.
    pub fn truncated() -> Self {
        let message = "the other side ended the connection without closing TLS: data may be missing";
        Self { code: Code::Truncated, message: message.into() }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let (code, message) = match error {
            Error::InvalidCertificate(reason) => certificate(reason),
            Error::AlertReceived(alert) => (Code::Protocol, alert_text(*alert)),
            Error::InvalidMessage(_) => (Code::Protocol, "the other side does not speak TLS on this port".into()),
            Error::NoApplicationProtocol => (Code::Protocol, "the server speaks none of the offered protocols".into()),
            Error::PeerIncompatible(reason) => (Code::Protocol, format!("no common version or cipher: {reason:?}")),
            other => (Code::Protocol, other.to_string()),
        };
        Self { code, message }
    }
}

fn certificate(reason: &CertificateError) -> (Code, String) {
    use CertificateError as E;
    match reason {
        E::Expired | E::ExpiredContext { .. } => (Code::Expired, "the server's certificate has expired".into()),
        E::NotValidYet | E::NotValidYetContext { .. } => {
            (Code::NotYetValid, "the server's certificate is not valid yet; is the clock right?".into())
        }
        E::NotValidForName => (Code::WrongName, "the server's certificate is for another name".into()),
        E::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().take(5).map(|name| bare(name)).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "no name at all".into() } else { names };
            (Code::WrongName, format!("the server's certificate is for {names}, not for {}", expected.to_str()))
        }
        E::UnknownIssuer => {
            (Code::UnknownIssuer, "the server's certificate was issued by an authority that is not trusted".into())
        }
        other => (Code::BadCertificate, format!("the server's certificate cannot be accepted: {other:?}")),
    }
}

/// A name as a person writes it: what rustls gives is `DnsName("www.example")` or `IpAddress(192.0.2.1)`.
fn bare(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

fn alert_text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion => {
            format!("the server found no common version or cipher ({alert:?})")
        }
        AlertDescription::UnrecognisedName => "the server does not know the name that it was asked for".into(),
        AlertDescription::NoApplicationProtocol => "the server speaks none of the offered protocols".into(),
        AlertDescription::CertificateRequired => "the server wants a certificate of the client".into(),
        other => format!("the server ended the handshake or the connection ({other:?})"),
    }
}
