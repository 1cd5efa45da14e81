//! `webtun-gateway health`: asks the gateway with the same configuration how it is, for images that have no other program.

use crate::config::Config;
use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// From the connection to the answer.
const PATIENCE: Duration = Duration::from_secs(5);
const PATH: &str = "/healthz";

/// Why a gateway is not well, or cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// No listener is known that speaks plain HTTP.
    #[error(
        "the listener speaks TLS alone and `admin` is \"off\": give `admin` an address, such as 127.0.0.1:9077, to be asked at"
    )]
    Tls,
    /// The port is known to the running gateway alone.
    #[error("`{0}` has port 0: give it a port, to be asked at")]
    Port(&'static str),
    /// Nobody is there.
    #[error("no gateway answers at {address}: {error}")]
    Unreachable {
        /// Where it was asked.
        address: SocketAddr,
        /// The system's word.
        error: std::io::Error,
    },
    /// What is there does not speak HTTP.
    #[error("what listens at {address} is no gateway: {error}")]
    Http {
        /// Where it was asked.
        address: SocketAddr,
        /// What is wrong with it.
        error: hyper::Error,
    },
    /// It is there and says nothing.
    #[error("the gateway at {0} does not answer within 5 seconds")]
    Silent(SocketAddr),
    /// It is not well.
    #[error("the gateway at {address} answers {status}")]
    Status {
        /// Where it was asked.
        address: SocketAddr,
        /// Its answer.
        status: StatusCode,
    },
}

/// Asks the gateway that runs with this configuration on this machine.
///
/// # Errors
/// See [`HealthError`].
pub async fn ask(config: &Config) -> Result<(), HealthError> {
    let address = place(config)?;
    match timeout(PATIENCE, status(address)).await {
        Err(_) => Err(HealthError::Silent(address)),
        Ok(Err(error)) => Err(error),
        Ok(Ok(StatusCode::OK)) => Ok(()),
        Ok(Ok(status)) => Err(HealthError::Status { address, status }),
    }
}

/// Where it listens in plain HTTP: for clients, or, as that may be TLS, for the operator.
fn place(config: &Config) -> Result<SocketAddr, HealthError> {
    let (key, mut address) = match config.admin.value() {
        Some(&admin) => ("admin", admin),
        None if config.tls.files().is_none() => ("listen", config.listen),
        None => return Err(HealthError::Tls),
    };
    if address.port() == 0 {
        return Err(HealthError::Port(key));
    }
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    Ok(address)
}

async fn status(address: SocketAddr) -> Result<StatusCode, HealthError> {
    let stream = TcpStream::connect(address).await.map_err(|error| HealthError::Unreachable { address, error })?;
    let answer = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = http::Uri::from_static(PATH);
        request.headers_mut().insert(HOST, http::HeaderValue::from_static("localhost"));
        tokio::select! {
            answer = sender.send_request(request) => answer.map(Some),
            ended = connection => ended.map(|()| None),
        }
    };
    match answer.await {
        Ok(Some(response)) => Ok(response.status()),
        // It has closed the connection without a word.
        Ok(None) => Ok(StatusCode::SERVICE_UNAVAILABLE),
        Err(error) => Err(HealthError::Http { address, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Switch;

    fn place_of(change: impl FnOnce(&mut Config)) -> Result<String, String> {
        let mut config = Config::default();
        change(&mut config);
        place(&config).map(|address| address.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_operators_listener_is_asked_else_the_clients() {
        assert_eq!(place_of(|_| {}).as_deref(), Ok("127.0.0.1:9077"));
        assert_eq!(
            place_of(|config| {
                config.admin = Switch::Off;
                config.listen = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80));
            })
            .as_deref(),
            Ok("[::1]:80")
        );
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        let error = place_of(|config| {
            config.admin = Switch::Off;
            config.tls.certificate = Some("a".into());
            config.tls.key = Some("b".into());
        });
        assert!(error.is_err_and(|error| error.contains("TLS")));
        let error = place_of(|config| config.admin = Switch::On(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
        assert!(error.is_err_and(|error| error.contains("`admin` has port 0")));
    }
}
