//! The authority and the certificate of the HTTPS server, made anew at each start.

use std::error::Error;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A TLS server for the playground's names and `addresses`. Its authority's certificate goes to `ca_file`.
pub fn acceptor(addresses: &[IpAddr], ca_file: Option<&Path>) -> Result<TlsAcceptor, Box<dyn Error>> {
    let (authority, issuer) = authority()?;
    if let Some(path) = ca_file {
        std::fs::write(path, authority).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let (chain, key) = certificate(addresses, &issuer)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn authority() -> Result<(String, Issuer<'static, KeyPair>), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "webtun playground authority");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok((certificate, Issuer::new(params, key)))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certificate(addresses: &[IpAddr], issuer: &Issuer<'static, KeyPair>) -> Result<Identity, Box<dyn Error>> {
    let mut names = vec!["playground.test".to_owned(), "*.playground.test".to_owned(), "localhost".to_owned()];
    names.extend(addresses.iter().map(ToString::to_string));
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "www.playground.test");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok((vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der())?))
}
