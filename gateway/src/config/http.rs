use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// `[tls]`: with both files the listener speaks TLS alone, and without them none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and, behind it, those that lead to the authority. Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key, not encrypted. Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Tls {
    /// The certificate's file and the key's, where TLS is wanted.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        self.certificate.as_deref().zip(self.key.as_deref())
    }
}

/// Which header the trusted proxies write. Only that one is read: the other one passes through them as clients send it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For` and `X-Forwarded-Host`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// `[http]`: proxies before the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Addresses from which requests tell whose they are. From all others such headers are ignored.
    pub trusted_proxies: Vec<IpNet>,
    /// Where the proxies tell it.
    pub forwarded_header: ForwardedHeader,
    /// The address at which people open the gateway's page, for the line with the made token. Default: the machine's own, which
    /// cannot be told from within a container or behind a proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
}

impl Http {
    /// Whether `public_url` can be put before a query.
    pub(super) fn has_usable_url(&self) -> bool {
        self.public_url.as_ref().is_none_or(|text| match text.parse::<http::Uri>() {
            Ok(url) => {
                matches!(url.scheme_str(), Some("http" | "https"))
                    && url.query().is_none()
                    && !text.contains('#')
                    && text.ends_with('/')
            }
            Err(_) => false,
        })
    }
}
