//! What the connections of a page have in common: roots, protocols, the clock, and sessions to resume.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::time_provider::TimeProvider;
use rustls::{CipherSuite, ClientConfig, RootCertStore, SupportedCipherSuite};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

/// Unix time as the caller told it last.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    /// It is `milliseconds` after the Unix epoch.
    pub fn set(&self, milliseconds: f64) {
        // Only a clock before 1970 is negative, and then the cast gives 0.
        self.0.store(milliseconds as u64, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.load(Ordering::Relaxed))))
    }
}

/// Why there is no configuration.
#[derive(Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The text has no certificate in PEM (RFC 7468), or a broken one.
    Pem(String),
    /// A certificate cannot be a root.
    Root(String),
    /// rustls does not accept its own defaults.
    Provider(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(reason) => write!(f, "the roots are no certificates in PEM: {reason}"),
            Self::Root(reason) => write!(f, "a certificate cannot be a root: {reason}"),
            Self::Provider(reason) => write!(f, "TLS cannot be set up: {reason}"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// A configuration that trusts `roots` (certificates in PEM), or Mozilla's where that is empty, and offers `protocols`
/// by ALPN (RFC 7301) in their order.
pub fn client_config(roots: &str, protocols: &[&str], clock: Clock) -> Result<ClientConfig, ConfigError> {
    let mut config = ClientConfig::builder_with_details(Arc::new(provider()), Arc::new(clock))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::Provider(error.to_string()))?
        .with_root_certificates(trusted(roots)?)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(config)
}

fn trusted(roots: &str) -> Result<RootCertStore, ConfigError> {
    let mut store = RootCertStore::empty();
    if roots.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(store);
    }
    for certificate in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        let certificate = certificate.map_err(|error| ConfigError::Pem(error.to_string()))?;
        store.add(certificate).map_err(|error| ConfigError::Root(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(ConfigError::Pem("there is none in the text".into()));
    }
    Ok(store)
}

/// *ring*, with ChaCha20-Poly1305 in front of AES-GCM in each version of TLS.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| (suite.tls13().is_none(), !is_chacha(suite)));
    provider
}

fn is_chacha(suite: &SupportedCipherSuite) -> bool {
    matches!(
        suite.suite(),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(roots: &str) -> Option<ConfigError> {
        client_config(roots, &[], Clock::default()).err()
    }

    #[test]
    fn without_roots_those_of_the_web_are_trusted() {
        assert!(refusal("").is_none());
        assert!(trusted("").is_ok_and(|store| store.len() > 50));
    }

    #[test]
    fn text_without_a_certificate_is_refused() {
        assert!(matches!(refusal("no PEM at all"), Some(ConfigError::Pem(_))));
        let broken = "-----BEGIN CERTIFICATE-----\n####\n-----END CERTIFICATE-----\n";
        assert!(matches!(refusal(broken), Some(ConfigError::Pem(_))));
        let nothing = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(refusal(nothing), Some(ConfigError::Root(_))));
    }

    #[test]
    fn the_fast_cipher_is_offered_first() {
        let suites: Vec<_> = provider().cipher_suites.iter().map(SupportedCipherSuite::suite).collect();
        assert_eq!(suites[0], CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
        let old = provider().cipher_suites.into_iter().find(|suite| suite.tls13().is_none());
        assert!(old.is_some_and(|suite| is_chacha(&suite)));
    }
}
