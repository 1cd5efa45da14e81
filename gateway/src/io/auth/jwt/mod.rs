//! JSON Web Tokens (RFC 7519), signed by someone whose key is in a file.

mod keys;
mod verify;

use crate::config::{Config, Jwt, LimitChanges, is_peer_name};
use crate::dataplane::Peer;
use jsonwebtoken::errors::Error;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use keys::Key;
pub use keys::KeyError;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a token is refused; for the operator's log.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no key of the file is the one that it names, or is of its algorithm")]
    NoKey,
    #[error("it has a critical extension that is not known here")]
    Critical,
    #[error("{0}")]
    Invalid(#[from] Error),
    #[error("the claim `{0}` with the name is missing, too long or no text")]
    Name(String),
    #[error("the claim `{0}` names no group of the configuration")]
    Group(String),
    #[error("the claim `{0}` cannot be read: {1}")]
    Limits(String, serde_json::Error),
}

/// What tells that a file is another than it was. A replaced symbolic link, as of a mounted secret, has another inode.
type Stamp = (u64, u64, i64, i64);

struct Current {
    keys: Arc<[Key]>,
    stamp: Option<Stamp>,
}

/// Someone whose tokens are taken.
pub(super) struct Issuer {
    settings: Jwt,
    config: Config,
    current: Mutex<Current>,
}

impl Issuer {
    /// Reads the key file.
    pub(super) fn new(settings: &Jwt, config: &Config) -> Result<Self, KeyError> {
        verify::install();
        let stamp = stamp(&settings.key);
        let keys = keys::read(&settings.key)?.into();
        Ok(Self { settings: settings.clone(), config: config.clone(), current: Mutex::new(Current { keys, stamp }) })
    }

    /// True where `credential` has the three parts of a signed token (RFC 7515 section 3.1).
    pub(super) fn is_jwt(credential: &[u8]) -> bool {
        credential.iter().filter(|octet| **octet == b'.').count() == 2
    }

    /// Reads the key file again where it has changed. Keys that work are kept until there are others that do.
    pub(super) fn refresh(&self) {
        let now = stamp(&self.settings.key);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if now == current.stamp {
            return;
        }
        current.stamp = now;
        let file = self.settings.key.display();
        match keys::read(&self.settings.key) {
            Ok(keys) => {
                tracing::info!(%file, keys = keys.len(), "the keys of a JWT issuer have been read again");
                current.keys = keys.into();
            }
            Err(error) => tracing::error!(%file, %error, "the keys of a JWT issuer cannot be read; the old ones stay"),
        }
    }

    /// The peer that the token proves. The log says why there is none, without the token.
    pub(super) fn authenticate(&self, token: &[u8]) -> Option<Peer> {
        let refused = match self.judge(token) {
            Ok(peer) => return Some(peer),
            Err(refused) => refused,
        };
        tracing::info!(file = %self.settings.key.display(), reason = %refused, "a JWT is refused");
        None
    }

    fn judge(&self, token: &[u8]) -> Result<Peer, Refusal> {
        let header = decode_header(token)?;
        // RFC 7515 section 4.1.11: what is critical has to be understood.
        if header.crit.is_some() {
            return Err(Refusal::Critical);
        }
        let claims = self.verify(token, &header)?;
        self.peer(&claims)
    }

    /// The claims of a token that is valid at this moment.
    fn verify(&self, token: &[u8], header: &Header) -> Result<Map<String, Value>, Refusal> {
        let keys = Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).keys);
        let validation = self.validation(header);
        let mut outcome = Err(Refusal::NoKey);
        let names = |key: &&Key| header.kid.is_none() || key.id.is_none() || key.id == header.kid;
        for key in keys.iter().filter(names).filter(|key| key.algorithms.contains(&header.alg)) {
            match decode(token, &key.key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => outcome = Err(error.into()),
            }
        }
        outcome
    }

    fn validation(&self, header: &Header) -> Validation {
        let settings = &self.settings;
        let mut required = vec!["exp"];
        let mut validation = Validation::new(header.alg);
        validation.leeway = settings.leeway_s.into();
        validation.validate_nbf = true;
        if !settings.audience.is_empty() {
            validation.set_audience(&settings.audience);
            required.push("aud");
        }
        if let Some(issuer) = &settings.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    fn peer(&self, claims: &Map<String, Value>) -> Result<Peer, Refusal> {
        let settings = &self.settings;
        let name = claims.get(&settings.name_claim).and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = name.map(|name| format!("{}{name}", settings.name_prefix)).filter(|name| is_peer_name(name));
        let name = name.ok_or_else(|| Refusal::Name(settings.name_claim.clone()))?;
        let unknown = || Refusal::Group(settings.group_claim.clone());
        let group = match claims.get(&settings.group_claim) {
            None | Some(Value::Null) => settings.group.as_deref(),
            Some(told) => Some(told.as_str().ok_or_else(unknown)?),
        };
        let mut peer = self.config.peer(&name, group).ok_or_else(unknown)?;
        if let Some(told) = claims.get(&settings.limits_claim).filter(|told| !told.is_null()) {
            let changes = LimitChanges::deserialize(told);
            let changes = changes.map_err(|error| Refusal::Limits(settings.limits_claim.clone(), error))?;
            peer.limits =
                if settings.may_raise_limits { changes.apply(peer.limits) } else { changes.lower(peer.limits) };
        }
        Ok(peer)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let told = fs::metadata(path).ok()?;
    Some((told.ino(), told.len(), told.mtime(), told.mtime_nsec()))
}

#[cfg(test)]
mod tests;
