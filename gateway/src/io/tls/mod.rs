//! TLS for the listener (rustls with ring): certificate files, and their replacement while connections go on.

mod reload;

pub use reload::keep_fresh;

use crate::config::Tls;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring::{Ticketer, default_provider};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{Error, InconsistentKeys, ServerConfig};

/// Why there is no TLS. Each text names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or may not be read.
    #[error("tls.{key}: {} cannot be read: {error}; it must be a PEM file that the gateway may read", path.display())]
    Unreadable {
        /// The configuration's key.
        key: &'static str,
        /// As configured.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// A file is no PEM.
    #[error("tls.{key}: {} is not well-formed PEM: {error}", path.display())]
    Malformed {
        /// The configuration's key.
        key: &'static str,
        /// As configured.
        path: PathBuf,
        /// What is wrong.
        error: pem::Error,
    },
    /// No certificate.
    #[error(
        "tls.certificate: {} has no certificate (BEGIN CERTIFICATE); give the file with the whole chain, which certbot \
         calls fullchain.pem",
        .0.display()
    )]
    NoCertificate(PathBuf),
    /// No key.
    #[error(
        "tls.key: {} has no private key (BEGIN PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY); an encrypted one must be \
         decrypted first, as with openssl pkey",
        .0.display()
    )]
    NoKey(PathBuf),
    /// They do not belong together.
    #[error(
        "tls: the key in {} is not that of the first certificate in {}; give both of one pair, and the server's own \
         certificate before those that lead to the authority",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// As configured.
        certificate: PathBuf,
        /// As configured.
        key: PathBuf,
    },
    /// rustls refuses them.
    #[error("tls: the certificate in {} and its key cannot be used: {error}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What rustls says.
        error: Error,
    },
}

/// What connections need for TLS by these files: versions 1.2 and 1.3, for HTTP/1.1; none where no file is configured.
///
/// # Errors
/// See [`TlsError`].
pub fn load(tls: &Tls) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    tls.files().map(|(certificate, key)| load_pair(certificate, key)).transpose()
}

fn load_pair(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read_chain(certificate)?;
    let private = read_key(key)?;
    let unusable = |error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() }
        }
        error => TlsError::Unusable { path: certificate.to_owned(), error },
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Clients that all come back at once after a cut need no signature each, and nothing is kept per client.
    config.ticketer = Ticketer::new().map_err(unusable)?;
    Ok(Arc::new(config))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read("certificate", path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let malformed = |error| TlsError::Malformed { key: "certificate", path: path.to_owned(), error };
    let chain = chain.map_err(malformed)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read("key", path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        error => TlsError::Malformed { key: "key", path: path.to_owned(), error },
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Unreadable { key, path: path.to_owned(), error })
}
