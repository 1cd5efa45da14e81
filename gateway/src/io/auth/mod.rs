//! Who may open sessions: one file per kind of credential.

mod failures;
mod gate;
mod jwt;
mod kept;
mod keys;
mod ticket;
mod token;

use crate::config::{Config, TokenHash};
use crate::dataplane::Peer;
pub use gate::{Gate, Issued, NoTicket, Refusal};
use jwt::Issuer;
pub use jwt::KeyError;
use kept::fresh;
pub use kept::{fresh_token, kept_token};
use keys::Keys;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use token::Tokens;

/// The longest credential that is looked at, in octets.
pub const MAX_CREDENTIAL: usize = 4096;

/// How often files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What the configuration accepts. Where that is nothing, everybody may open sessions.
pub struct Credentials {
    tokens: Tokens,
    issuers: Vec<Issuer>,
    keys: Keys,
    anyone: Peer,
}

impl Credentials {
    /// The configured credentials, and the token that was made where there are none.
    ///
    /// # Errors
    /// With the file whose keys cannot be used.
    pub fn new(config: &Config, made: Option<&str>) -> Result<Self, (PathBuf, KeyError)> {
        let made = made.map(|token| TokenHash::of(token.as_bytes()));
        let issuer = |jwt| Issuer::new(jwt, config).map_err(|error| (jwt.key.clone(), error));
        let issuers = config.auth.jwt.iter().map(issuer).collect::<Result<_, _>>()?;
        Ok(Self { tokens: Tokens::new(config, made), issuers, keys: Keys::new(config), anyone: config.anyone() })
    }

    /// Follows changes of key files, for as long as it is polled.
    pub async fn follow_files(self: Arc<Self>) {
        if self.issuers.is_empty() {
            return;
        }
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            self.issuers.iter().for_each(Issuer::refresh);
        }
    }

    /// The principal that `credential` proves, or none. An empty credential stands for none shown.
    fn authenticate(&self, credential: &[u8]) -> Option<Peer> {
        if self.is_open() {
            return Some(self.anyone());
        }
        if credential.is_empty() || credential.len() > MAX_CREDENTIAL {
            return None;
        }
        let by_token = self.tokens.authenticate(credential);
        by_token.or_else(|| {
            let mut issuers = self.issuers.iter().filter(|_| Issuer::is_jwt(credential));
            issuers.find_map(|issuer| issuer.authenticate(credential))
        })
    }

    /// True where there are public keys.
    fn knows_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The principal whose key of this hash has signed `message`, or none.
    fn authenticate_signature(&self, key: &[u8; 32], message: &[u8], signature: &[u8]) -> Option<Peer> {
        self.keys.authenticate(key, message, signature)
    }

    /// Who all are where everybody is let in.
    fn anyone(&self) -> Peer {
        self.anyone.clone()
    }

    /// True where sessions are opened without any credential.
    fn is_open(&self) -> bool {
        self.tokens.is_empty() && self.issuers.is_empty() && self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_credentials_everybody_is_let_in() {
        let open = Credentials::new(&Config::default(), None).expect("no keys");
        assert!(open.is_open() && open.authenticate(b"").is_some());
        let made = Credentials::new(&Config::default(), Some("made")).expect("no keys");
        assert!(!made.is_open() && made.authenticate(b"").is_none() && made.authenticate(b"made").is_some());
    }

    #[test]
    fn a_credential_beyond_the_bound_is_not_looked_at() {
        let long = "a".repeat(MAX_CREDENTIAL + 1);
        let made = Credentials::new(&Config::default(), Some(&long)).expect("no keys");
        assert!(made.authenticate(long.as_bytes()).is_none());
    }
}
