//! Public keys, whose owners prove themselves by a signature. `ring` verifies, which TLS needs anyway.

use crate::config::{AuthKey, Config};
use crate::dataplane::Peer;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};

/// A fixed set of Ed25519 keys (RFC 8032).
pub(super) struct Keys {
    keys: Vec<Key>,
}

struct Key {
    /// SHA-256 of the key: its name, and no secret.
    hash: Vec<u8>,
    key: [u8; 32],
    peer: Peer,
}

impl Keys {
    /// The keys of the configuration.
    pub(super) fn new(config: &Config) -> Self {
        let key = |key: &AuthKey| {
            let peer = config.peer(&key.name, key.group.as_deref())?;
            let peer = Peer { limits: key.limits.apply(peer.limits), ..peer };
            let octets = key.ed25519.octets();
            Some(Key { hash: digest(&SHA256, &octets).as_ref().to_vec(), key: octets, peer })
        };
        Self { keys: config.auth.key.iter().filter_map(key).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whose key of this hash has signed `message`.
    pub(super) fn authenticate(&self, hash: &[u8; 32], message: &[u8], signature: &[u8]) -> Option<Peer> {
        let mut found = self.keys.iter().filter(|key| key.hash == hash);
        found
            .find(|key| UnparsedPublicKey::new(&ED25519, key.key).verify(message, signature).is_ok())
            .map(|key| key.peer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 section 7.1, test 3.
    const KEY: &str = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    const SIGNATURE: &str = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
        18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";

    fn octets(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits")).collect()
    }

    #[test]
    fn the_owner_of_a_key_is_who_has_signed() {
        let config =
            format!("[[group]]\nname = \"g\"\n[[auth.key]]\ned25519 = \"{KEY}\"\nname = \"alice\"\ngroup = \"g\"");
        let keys = Keys::new(&toml::from_str(&config).expect("a configuration"));
        let hash: [u8; 32] = digest(&SHA256, &octets(KEY)).as_ref().try_into().expect("32 octets");
        let signature = octets(SIGNATURE);
        let alice = keys.authenticate(&hash, &[0xaf, 0x82], &signature).expect("her signature");
        assert_eq!((&*alice.name, alice.group.as_deref()), ("alice", Some("g")));
        assert!(keys.authenticate(&hash, &[0xaf, 0x83], &signature).is_none());
        assert!(keys.authenticate(&[0; 32], &[0xaf, 0x82], &signature).is_none());
        assert!(keys.authenticate(&hash, &[0xaf, 0x82], &signature[..63]).is_none());
    }
}
