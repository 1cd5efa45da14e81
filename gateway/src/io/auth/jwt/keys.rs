//! Keys that sign tokens, from a file.
//!
//! What a key is good for follows from the key alone, and never from the token that it is tried on: a public key is no
//! HMAC secret, and a secret is not used for a hash that is longer than itself (RFC 7518 section 3.2).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest file, in octets, and the most keys in it.
const MAX_FILE: u64 = 1 << 20;
const MAX_KEYS: usize = 64;

/// Why a file gives no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not there.
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    /// It has nothing that could be used.
    #[error("{0}")]
    Unusable(String),
}

/// A key and what it may verify.
pub(super) struct Key {
    /// What tokens call it; none: any that it fits.
    pub id: Option<String>,
    pub algorithms: Vec<Algorithm>,
    pub key: DecodingKey,
}

/// Reads a file of any of the kinds.
pub(super) fn read(path: &Path) -> Result<Vec<Key>, KeyError> {
    let mut octets = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_FILE {
        return Err(unusable("it is larger than 1 MiB"));
    }
    parse(octets.trim_ascii())
}

fn unusable(problem: &str) -> KeyError {
    KeyError::Unusable(problem.to_owned())
}

fn parse(text: &[u8]) -> Result<Vec<Key>, KeyError> {
    if text.starts_with(b"{") {
        return parse_jwk(text);
    }
    if text.starts_with(b"-----BEGIN") {
        return Ok(vec![parse_pem(text)?]);
    }
    let key = DecodingKey::from_secret(text);
    let algorithms = algorithms(&key);
    if algorithms.is_empty() {
        return Err(unusable("a secret has at least 32 octets"));
    }
    Ok(vec![Key { id: None, algorithms, key }])
}

/// What the key's kind and length allow; nothing where it is too short.
fn algorithms(key: &DecodingKey) -> Vec<Algorithm> {
    let length = match key.kind() {
        DecodingKeyKind::SecretOrDer(octets) => octets.len(),
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.len(),
    };
    let mut algorithms = key.family().algorithms().to_vec();
    algorithms.retain(|algorithm| match algorithm {
        Algorithm::HS256 => length >= 32,
        Algorithm::HS384 => length >= 48,
        Algorithm::HS512 => length >= 64,
        Algorithm::ES256 => length == 65,
        Algorithm::ES384 => length == 97,
        Algorithm::EdDSA => length == 32,
        // 2048 bits; in DER some octets more.
        _ => length >= 256,
    });
    algorithms
}

/// Public keys alone: a private one has no place on a machine that verifies.
fn parse_pem(text: &[u8]) -> Result<Key, KeyError> {
    if ![&b"-----BEGIN PUBLIC KEY-----"[..], b"-----BEGIN RSA PUBLIC KEY-----"]
        .iter()
        .any(|head| text.starts_with(head))
    {
        return Err(unusable("of PEM files, it takes those with a public key (`BEGIN PUBLIC KEY`)"));
    }
    let kinds = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
    let key = kinds.iter().find_map(|parse| parse(text).ok());
    let key = key.ok_or_else(|| unusable("it is neither an RSA, an EC nor an Ed25519 key"))?;
    let algorithms = algorithms(&key);
    if algorithms.is_empty() {
        return Err(unusable("the key is too short (RSA below 2048 bits) or of another curve than P-256 and P-384"));
    }
    Ok(Key { id: None, algorithms, key })
}

/// A set or a single key. Keys that cannot be used are left out (RFC 7517 section 5).
fn parse_jwk(text: &[u8]) -> Result<Vec<Key>, KeyError> {
    let set = serde_json::from_slice::<JwkSet>(text)
        .or_else(|_| serde_json::from_slice(text).map(|jwk| JwkSet { keys: vec![jwk] }))
        .map_err(|error| KeyError::Unusable(format!("it is no JWK and no set of them: {error}")))?;
    if set.keys.len() > MAX_KEYS {
        return Err(unusable("it has more than 64 keys"));
    }
    let keys: Vec<Key> = set.keys.iter().filter_map(usable).collect();
    if keys.is_empty() {
        return Err(unusable("it has no key that verifies HS, RS, PS, ES256, ES384 or EdDSA"));
    }
    Ok(keys)
}

fn usable(jwk: &Jwk) -> Option<Key> {
    let common = &jwk.common;
    let is_known = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(it) => matches!(it.curve, EllipticCurve::P256 | EllipticCurve::P384),
        AlgorithmParameters::OctetKeyPair(it) => it.curve == EllipticCurve::Ed25519,
        AlgorithmParameters::RSA(_) | AlgorithmParameters::OctetKey(_) => true,
        _ => false,
    };
    let verifies = common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|it| it.contains(&KeyOperations::Verify));
    if !is_known || !verifies {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let mut algorithms = algorithms(&key);
    if let Some(told) = common.key_algorithm {
        algorithms.retain(|algorithm| Algorithm::try_from(told).is_ok_and(|told| told == *algorithm));
    }
    (!algorithms.is_empty()).then(|| Key { id: common.key_id.clone(), algorithms, key })
}
