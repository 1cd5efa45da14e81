//! `[auth]`: credentials, beyond the plain list `tokens`.

use super::{LimitChanges, is_token};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use subtle::ConstantTimeEq;

const SCHEME: &str = "sha256:";

/// What is kept of a bearer token: its SHA-256, written `sha256:` and 64 hexadecimal digits.
///
/// That hides a random token for good. It does not hide a word that somebody has made up, which can be guessed offline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token).as_ref());
        Self(hash)
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl FromStr for TokenHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "a hash is `sha256:` and 64 hexadecimal digits, as `webtun-gateway token hash` prints it".to_owned();
        text.strip_prefix(SCHEME).and_then(hexadecimal).map(Self).ok_or_else(wrong)
    }
}

fn hexadecimal(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut octets = [0; 32];
    for (octet, pair) in octets.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(octets)
}

impl fmt::Display for TokenHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(SCHEME)?;
        self.0.iter().try_for_each(|octet| write!(out, "{octet:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl TryFrom<String> for TokenHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hash.to_string()
    }
}

/// An item of `tokens`: a hash, or a token as it is. Only the hash is kept, so that whatever prints a configuration prints
/// no token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token {
    /// Its hash.
    pub hash: TokenHash,
    /// True where the token itself stands in the configuration.
    pub is_plain: bool,
}

impl PartialEq for Token {
    /// However it was written.
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl TryFrom<String> for Token {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.starts_with(SCHEME) {
            return Ok(Self { hash: text.parse()?, is_plain: false });
        }
        if !is_token(&text) {
            return Err(
                "a token travels in an HTTP header, so it may have only letters, digits and !#$%&'*+-.^_`|~ and \
                        at most 256 of them; or write its hash, sha256:..."
                    .to_owned(),
            );
        }
        Ok(Self { hash: TokenHash::of(text.as_bytes()), is_plain: true })
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.hash.to_string()
    }
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Wrong credentials from one IPv4 address or IPv6 prefix of 64 bits that are judged in a minute; further ones are
    /// refused unread.
    pub failures_per_minute: u32,
    /// How long a ticket is good, if it is not spent.
    pub ticket_life_s: u32,
    /// Tickets that are not spent, at once.
    pub tickets: u32,
    /// Tickets of one peer that are not spent, at once.
    pub tickets_per_peer: u32,
    /// Bearer tokens with names.
    pub token: Vec<AuthToken>,
    /// Public keys, by which clients of Wisp may prove themselves.
    pub key: Vec<AuthKey>,
    /// Who else says who may come in.
    pub jwt: Vec<Jwt>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            failures_per_minute: 10,
            ticket_life_s: 30,
            tickets: 1024,
            tickets_per_peer: 16,
            token: Vec::new(),
            key: Vec::new(),
            jwt: Vec::new(),
        }
    }
}

/// `[[auth.token]]`: a bearer token whose peer has a name, a group and limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthToken {
    /// The token's hash.
    pub hash: TokenHash,
    /// The peer's name, in logs and for its totals. Tokens of the same name are one peer.
    pub name: String,
    /// The peer's group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What differs from the limits of `[limits]` and of the group.
    #[serde(default)]
    pub limits: LimitChanges,
}

/// `[[auth.key]]`: a public key whose owner has a name, a group and limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthKey {
    /// The key: 64 hexadecimal digits, the 32 octets of RFC 8032.
    pub ed25519: PublicKey,
    /// The peer's name, in logs and for its totals. Keys and tokens of the same name are one peer.
    pub name: String,
    /// The peer's group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What differs from the limits of `[limits]` and of the group.
    #[serde(default)]
    pub limits: LimitChanges,
}

/// An Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// As RFC 8032 section 5.1.2 has it.
    pub fn octets(self) -> [u8; 32] {
        self.0
    }
}

impl TryFrom<String> for PublicKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = "a key is 64 hexadecimal digits: the last 32 octets of \
            `openssl pkey -in key.pem -pubout -outform DER`";
        hexadecimal(&text).map(Self).ok_or_else(|| wrong.to_owned())
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.0.iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

/// `[[auth.jwt]]`: an issuer of JSON Web Tokens (RFC 7519).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jwt {
    /// A file with the key: public keys in PEM, a JWK or a set of them (RFC 7517), or a secret as it is. It is read again
    /// when it changes.
    pub key: PathBuf,
    /// What `aud` must name one of. Empty: only tokens without `aud` are taken, as RFC 7519 section 4.1.3 demands.
    pub audience: Vec<String>,
    /// What `iss` must be; absent: anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// How wrong the clocks may be for `exp` and `nbf`.
    pub leeway_s: u32,
    /// The claim with the peer's name; a token without it is refused.
    pub name_claim: String,
    /// What stands before that name, so that it is not the name of another peer by chance.
    pub name_prefix: String,
    /// The claim with the name of the peer's group.
    pub group_claim: String,
    /// The group of tokens without that claim; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The claim with limits, as an object of the shape of `limits` in `[[auth.token]]`.
    pub limits_claim: String,
    /// Whether that claim may also raise limits above what `[limits]` and the group give.
    pub may_raise_limits: bool,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            key: PathBuf::new(),
            audience: Vec::new(),
            issuer: None,
            leeway_s: 30,
            name_claim: "sub".to_owned(),
            name_prefix: "jwt:".to_owned(),
            group_claim: "webtun_group".to_owned(),
            group: None,
            limits_claim: "webtun_limits".to_owned(),
            may_raise_limits: false,
        }
    }
}

/// True where `text` can name a peer: it stands in logs and in the audit log.
pub fn is_peer_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_back_as_it_is_written() {
        // FIPS 180-2 appendix B.1.
        let hash = TokenHash::of(b"abc");
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), text);
        assert!(text.parse::<TokenHash>().expect("a hash").matches(&hash));
        assert!(!TokenHash::of(b"abd").matches(&hash));
        for wrong in ["abc", "sha256:", "sha256:ab", &text[..70], &text.replace("ba", "+a"), &text.replace("ba", "é")]
        {
            assert!(wrong.parse::<TokenHash>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_plain_token_is_not_kept() {
        let token = Token::try_from("s3cret".to_owned()).expect("a token");
        assert!(token.is_plain && !format!("{token:?}").contains("s3cret"));
        let hashed = Token::try_from(String::from(token.clone())).expect("a hash");
        assert!(!hashed.is_plain && hashed == token);
        assert!(!Token::try_from("not a token".to_owned()).expect_err("a space").contains("not a token"));
    }
}
