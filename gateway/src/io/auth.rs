//! Who may open sessions.

use crate::config::Config;
use crate::dataplane::Peer;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use subtle::ConstantTimeEq;

/// Judges credentials.
pub trait Authenticator: Send + Sync {
    /// The principal that `credential` proves, or none. An empty credential stands for none shown.
    fn authenticate(&self, credential: &[u8]) -> Option<Peer>;

    /// True where sessions are opened without any credential.
    fn is_open(&self) -> bool;
}

/// A fixed set of bearer tokens. Without any, everybody may open sessions.
pub struct StaticTokens {
    tokens: Vec<(String, Peer)>,
    anyone: Peer,
}

impl StaticTokens {
    /// Each token is a peer in no group, with the limits of `config`.
    pub fn new(tokens: Vec<String>, config: &Config) -> Self {
        let limits = config.limits.peer_limits();
        // By position: the token itself must not get into logs.
        let peer = |index: usize| Peer { limits, ..Peer::new(format!("token {}", index + 1)) };
        let tokens = tokens.into_iter().enumerate().map(|(index, token)| (token, peer(index))).collect();
        Self { tokens, anyone: config.anyone() }
    }
}

impl Authenticator for StaticTokens {
    fn authenticate(&self, credential: &[u8]) -> Option<Peer> {
        if self.is_open() {
            return Some(self.anyone.clone());
        }
        // All tokens are compared, in constant time each, so that the time taken tells nothing about them.
        let mut found = None;
        for (token, peer) in &self.tokens {
            if bool::from(token.as_bytes().ct_eq(credential)) {
                found = Some(peer);
            }
        }
        found.cloned()
    }

    fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// The token that is kept in `state_dir`; made at the first call. Only the owner can read the file.
///
/// # Errors
/// Where the folder or the file cannot be made or read.
pub fn kept_token(state_dir: &Path) -> io::Result<String> {
    fs::create_dir_all(state_dir)?;
    let path = state_dir.join("token");
    match fs::read_to_string(&path) {
        Ok(text) if crate::config::is_token(text.trim()) => {
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            return Ok(text.trim().to_owned());
        }
        Ok(_) => fs::remove_file(&path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut secret = [0; 24];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let token: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    writeln!(file, "{token}")?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_a_principal_of_its_own() {
        let tokens = StaticTokens::new(vec!["first".to_owned(), "second".to_owned()], &Config::default());
        assert_eq!(&*tokens.authenticate(b"second").expect("a known token").name, "token 2");
        assert!(tokens.authenticate(b"secon").is_none());
        assert!(tokens.authenticate(b"").is_none());
    }

    #[test]
    fn without_tokens_everybody_is_let_in() {
        let tokens = StaticTokens::new(Vec::new(), &Config::default());
        assert!(tokens.is_open() && tokens.authenticate(b"").is_some());
    }
}
