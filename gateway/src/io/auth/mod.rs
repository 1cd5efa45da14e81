//! Who may open sessions: one file per kind of credential.

mod kept;
mod token;

use crate::config::{Config, TokenHash};
use crate::dataplane::Peer;
pub use kept::{fresh_token, kept_token};
use token::Tokens;

/// The longest credential that is looked at, in octets.
pub const MAX_CREDENTIAL: usize = 4096;

/// Judges credentials.
pub trait Authenticator: Send + Sync {
    /// The principal that `credential` proves, or none. An empty credential stands for none shown.
    fn authenticate(&self, credential: &[u8]) -> Option<Peer>;

    /// True where sessions are opened without any credential.
    fn is_open(&self) -> bool;
}

/// What the configuration accepts. Where that is nothing, everybody may open sessions.
pub struct Credentials {
    tokens: Tokens,
    anyone: Peer,
}

impl Credentials {
    /// The configured credentials, and the token that was made where there are none.
    pub fn new(config: &Config, made: Option<&str>) -> Self {
        let made = made.map(|token| TokenHash::of(token.as_bytes()));
        Self { tokens: Tokens::new(config, made), anyone: config.anyone() }
    }
}

impl Authenticator for Credentials {
    fn authenticate(&self, credential: &[u8]) -> Option<Peer> {
        if self.is_open() {
            return Some(self.anyone.clone());
        }
        if credential.is_empty() || credential.len() > MAX_CREDENTIAL {
            return None;
        }
        self.tokens.authenticate(credential)
    }

    fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_credentials_everybody_is_let_in() {
        let open = Credentials::new(&Config::default(), None);
        assert!(open.is_open() && open.authenticate(b"").is_some());
        let made = Credentials::new(&Config::default(), Some("made"));
        assert!(!made.is_open() && made.authenticate(b"").is_none() && made.authenticate(b"made").is_some());
    }

    #[test]
    fn a_credential_beyond_the_bound_is_not_looked_at() {
        let long = "a".repeat(MAX_CREDENTIAL + 1);
        let made = Credentials::new(&Config::default(), Some(&long));
        assert!(made.authenticate(long.as_bytes()).is_none());
    }
}
