//! TLS over a stream through the tunnel.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use webtun_stack::aio::TcpStream;

/// Opens TLS to `host`, whose certificate must come from the authority in the file `ca`, or from one of the system's.
///
/// # Errors
/// The authority cannot be read, or the handshake fails.
pub async fn connect(stream: TcpStream, host: &str, ca: Option<&Path>) -> Result<TlsStream<TcpStream>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path)? {
                roots.add(certificate?)?;
            }
        }
        // Single certificates of the system that do not parse are left out.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}
