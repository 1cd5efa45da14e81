use crate::config::{AuthToken, Config, TokenHash};
use crate::dataplane::Peer;

/// A fixed set of bearer tokens.
pub(super) struct Tokens {
    tokens: Vec<(TokenHash, Peer)>,
}

impl Tokens {
    /// The tokens of the configuration and the one that was made. One without a name is a peer by its position.
    pub(super) fn new(config: &Config, made: Option<TokenHash>) -> Self {
        let limits = config.limits.peer_limits();
        // The token itself must not get into logs.
        let peer = |index: usize| Peer { limits, ..Peer::new(format!("token {}", index + 1)) };
        let plain = config.tokens.iter().map(|token| token.hash).chain(made);
        let plain = plain.enumerate().map(|(index, hash)| (hash, peer(index)));
        let named = config.auth.token.iter().filter_map(|token| Some((token.hash, named(config, token)?)));
        Self { tokens: plain.chain(named).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    pub(super) fn authenticate(&self, credential: &[u8]) -> Option<Peer> {
        let shown = TokenHash::of(credential);
        // All are compared, in constant time each, so that the time taken tells nothing about them.
        let mut found = None;
        for (hash, peer) in &self.tokens {
            if hash.matches(&shown) {
                found = Some(peer);
            }
        }
        found.cloned()
    }
}

/// A validated configuration has every group that it names.
fn named(config: &Config, token: &AuthToken) -> Option<Peer> {
    let peer = config.peer(&token.name, token.group.as_deref())?;
    Some(Peer { limits: token.limits.apply(peer.limits), ..peer })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Tokens {
        Tokens::new(&toml::from_str(text).expect("a configuration"), None)
    }

    #[test]
    fn each_token_is_a_principal_of_its_own() {
        let hash = TokenHash::of(b"second");
        let tokens = tokens(&format!("tokens = [\"first\", \"{hash}\"]"));
        assert_eq!(&*tokens.authenticate(b"first").expect("a known token").name, "token 1");
        assert_eq!(&*tokens.authenticate(b"second").expect("a known token").name, "token 2");
        assert!(tokens.authenticate(b"secon").is_none());
        // Who reads the file does not get in.
        assert!(tokens.authenticate(hash.to_string().as_bytes()).is_none());
    }

    #[test]
    fn a_named_token_has_its_group_and_limits() {
        let hash = TokenHash::of(b"s3cret");
        let tokens = tokens(&format!(
            "[[group]]\nname = \"players\"\nnetwork = \"game\"\nlimits.sessions = 4\nlimits.session.flows = 7\n\
             [[auth.token]]\nhash = \"{hash}\"\nname = \"alice\"\ngroup = \"players\"\nlimits.sessions = 2\n"
        ));
        let peer = tokens.authenticate(b"s3cret").expect("a known token");
        assert_eq!(
            (&*peer.name, peer.group.as_deref(), peer.network.as_deref()),
            ("alice", Some("players"), Some("game"))
        );
        assert_eq!((peer.limits.sessions, peer.limits.each.flows), (2, 7));
    }
}
