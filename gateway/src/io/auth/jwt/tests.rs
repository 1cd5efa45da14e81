//! Each rule by a token that keeps all the others.

#[path = "../../../../tests/io/support/jwt.rs"]
mod make;

use super::*;
use make::{in_seconds, sign, sign_with};
use std::path::PathBuf;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/jwt/");
const TOKENS: &str = include_str!("../../../../tests/data/jwt/tokens.txt");
const SECRET: &[u8; 32] = b"an HMAC secret of 32 octets, yes";

/// A file that goes away with the value.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(content: &[u8]) -> Self {
        let random = getrandom::u64().expect("randomness");
        let file = Self(std::env::temp_dir().join(format!("webtun-key-{random:016x}")));
        file.write(content);
        file
    }

    fn write(&self, content: &[u8]) {
        fs::write(&self.0, content).expect("a file");
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn issuer_of(key: &Path, settings: &str) -> Result<Issuer, KeyError> {
    let text = format!(
        "[[group]]\nname = \"players\"\nlimits.session.flows = 100\n[[auth.jwt]]\nkey = \"{}\"\n{settings}",
        key.display()
    );
    let config: Config = toml::from_str(&text).expect("a configuration");
    config.validate().expect("a good configuration");
    Issuer::new(&config.auth.jwt[0], &config)
}

fn with_secret(settings: &str) -> (Issuer, KeyFile) {
    let file = KeyFile::new(SECRET);
    (issuer_of(&file.0, settings).expect("a secret"), file)
}

fn claims(more: &str) -> String {
    format!("{{\"sub\":\"alice\",\"exp\":{}{more}}}", in_seconds(60))
}

#[test]
fn every_algorithm_of_another_implementation_is_verified() {
    for source in ["pem", "jwks"] {
        let mut seen = 0;
        for line in TOKENS.lines() {
            let [algorithm, key, token] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let file = if source == "pem" { format!("{key}.pem") } else { "jwks.json".to_owned() };
            let settings = "audience = [\"other\", \"webtun\"]\nissuer = \"https://issuer.example\"\n";
            let issuer = issuer_of(&Path::new(DATA).join(file), settings).expect("keys");
            let peer = issuer.judge(token.as_bytes()).unwrap_or_else(|refused| panic!("{algorithm}: {refused}"));
            assert_eq!(&*peer.name, "jwt:alice");
            // One character of the signature is another.
            let at = token.len() - 9;
            let other = if &token[at..=at] == "A" { "B" } else { "A" };
            let forged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            assert!(matches!(issuer.judge(forged.as_bytes()), Err(Refusal::Invalid(_))), "{algorithm}");
            seen += 1;
        }
        assert_eq!(seen, 9);
    }
}

#[test]
fn a_public_key_is_no_secret_and_no_signature_is_none() {
    let pem = fs::read(Path::new(DATA).join("rsa.pem")).expect("a key");
    let issuer = issuer_of(&Path::new(DATA).join("rsa.pem"), "").expect("a key");
    for secret in [&pem[..], pem.trim_ascii()] {
        assert!(matches!(issuer.judge(sign(&claims(""), secret).as_bytes()), Err(Refusal::NoKey)));
    }
    let unsigned = sign_with(r#"{"alg":"none"}"#, &claims(""), b"");
    assert!(issuer.judge(unsigned.as_bytes()).is_err());
    let (issuer, _file) = with_secret("");
    let (signed, _) = unsigned.rsplit_once('.').expect("three parts");
    for token in [unsigned.clone(), format!("{signed}.")] {
        assert!(issuer.judge(token.as_bytes()).is_err());
    }
    let critical = sign_with(r#"{"alg":"HS256","crit":["x"],"x":1}"#, &claims(""), SECRET);
    assert!(matches!(issuer.judge(critical.as_bytes()), Err(Refusal::Critical)));
}

#[test]
fn a_secret_is_not_used_for_a_longer_hash() {
    let algorithms = |length| keys::read(&KeyFile::new(&vec![b'k'; length]).0).map(|keys| keys[0].algorithms.len());
    assert_eq!(algorithms(32).expect("a secret"), 1);
    assert_eq!(algorithms(64).expect("a secret"), 3);
    assert!(algorithms(31).is_err());
}

#[test]
fn files_without_a_key_of_use_are_refused() {
    for name in ["short.pem", "p521.pem", "README.md.missing"] {
        assert!(issuer_of(&Path::new(DATA).join(name), "").is_err(), "{name}");
    }
    for content in
        ["{}", "{\"keys\":[]}", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "", "{\"keys\":"]
    {
        assert!(issuer_of(&KeyFile::new(content.as_bytes()).0, "").is_err(), "{content}");
    }
    let encrypting = r#"{"keys":[{"kty":"oct","use":"enc","k":"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"}]}"#;
    assert!(issuer_of(&KeyFile::new(encrypting.as_bytes()).0, "").is_err());
}

#[test]
fn times_count_with_the_leeway_and_no_further() {
    let (issuer, _file) = with_secret("leeway_s = 30\n");
    let judge = |claims: String| issuer.judge(sign(&claims, SECRET).as_bytes()).is_ok();
    let exp = |seconds| format!("{{\"sub\":\"a\",\"exp\":{}}}", in_seconds(seconds));
    assert!(judge(exp(60)) && judge(exp(-10)));
    assert!(!judge(exp(-60)));
    assert!(!judge("{\"sub\":\"a\"}".to_owned()), "exp is required");
    assert!(!judge("{\"sub\":\"a\",\"exp\":\"tomorrow\"}".to_owned()));
    assert!(judge(claims(&format!(",\"nbf\":{}", in_seconds(10)))));
    assert!(!judge(claims(&format!(",\"nbf\":{}", in_seconds(120)))));
    assert!(!judge(claims(",\"nbf\":\"today\"")));
}

#[test]
fn audience_and_issuer_are_required_where_they_are_configured() {
    let (issuer, _file) = with_secret("audience = [\"webtun\"]\nissuer = \"https://a.example\"\n");
    let judge = |more: &str| issuer.judge(sign(&claims(more), SECRET).as_bytes()).is_ok();
    assert!(judge(",\"aud\":\"webtun\",\"iss\":\"https://a.example\""));
    assert!(judge(",\"aud\":[\"x\",\"webtun\"],\"iss\":\"https://a.example\""));
    assert!(!judge(",\"aud\":\"other\",\"iss\":\"https://a.example\""));
    assert!(!judge(",\"iss\":\"https://a.example\""));
    assert!(!judge(",\"aud\":\"webtun\""));
    assert!(!judge(",\"aud\":\"webtun\",\"iss\":\"https://b.example\""));
    let (anyones, _file) = with_secret("");
    assert!(anyones.judge(sign(&claims(",\"aud\":\"elsewhere\""), SECRET).as_bytes()).is_err());
}

#[test]
fn the_claims_name_the_peer_and_its_group() {
    let (issuer, _file) = with_secret("name_claim = \"email\"\nname_prefix = \"sso:\"\n");
    let judge = |more: &str| issuer.judge(sign(&claims(more), SECRET).as_bytes());
    let peer = judge(",\"email\":\"a@b.example\",\"webtun_group\":\"players\"").expect("a peer");
    assert_eq!((&*peer.name, peer.group.as_deref()), ("sso:a@b.example", Some("players")));
    assert_eq!(peer.limits.each.flows, 100);
    for email in ["\"\"".to_owned(), "7".to_owned(), "\"a\\nb\"".to_owned(), format!("\"{}\"", "a".repeat(129))] {
        assert!(matches!(judge(&format!(",\"email\":{email}")), Err(Refusal::Name(_))), "{email}");
    }
    assert!(matches!(judge(""), Err(Refusal::Name(_))));
    for group in ["\"staff\"", "1"] {
        let more = format!(",\"email\":\"a\",\"webtun_group\":{group}");
        assert!(matches!(judge(&more), Err(Refusal::Group(_))), "{group}");
    }
    let (grouped, _file) = with_secret("group = \"players\"\n");
    let peer = grouped.judge(sign(&claims(""), SECRET).as_bytes()).expect("a peer");
    assert_eq!(peer.group.as_deref(), Some("players"));
}

#[test]
fn a_claim_only_lowers_limits_unless_it_may_raise_them() {
    let more =
        r#","webtun_group":"players","webtun_limits":{"sessions":9999,"session":{"flows":7,"mappings":"unlimited"}}"#;
    let limits = |settings: &str| {
        let (issuer, _file) = with_secret(settings);
        issuer.judge(sign(&claims(more), SECRET).as_bytes()).expect("a peer").limits
    };
    let lowered = limits("");
    assert_eq!((lowered.sessions, lowered.each.flows, lowered.each.mappings), (128, 7, 8192));
    let raised = limits("may_raise_limits = true\n");
    assert_eq!((raised.sessions, raised.each.flows, raised.each.mappings), (9999, 7, usize::MAX));
    let (issuer, _file) = with_secret("");
    let unknown = sign(&claims(",\"webtun_limits\":{\"sesions\":1}"), SECRET);
    assert!(matches!(issuer.judge(unknown.as_bytes()), Err(Refusal::Limits(..))), "a limit must not be overlooked");
}

#[test]
fn keys_are_read_again_and_broken_ones_are_not_taken() {
    let (issuer, file) = with_secret("");
    let old = sign(&claims(""), SECRET);
    file.write(b"too short");
    issuer.refresh();
    assert!(issuer.judge(old.as_bytes()).is_ok(), "the old key stays");
    fs::remove_file(&file.0).expect("it is there");
    issuer.refresh();
    assert!(issuer.judge(old.as_bytes()).is_ok(), "the old key stays");
    let secret = b"another HMAC secret, of 35 octets..";
    file.write(secret);
    issuer.refresh();
    assert!(issuer.judge(old.as_bytes()).is_err());
    assert!(issuer.judge(sign(&claims(""), secret).as_bytes()).is_ok());
}

#[test]
fn nonsense_is_refused() {
    let (issuer, _file) = with_secret("");
    let token = sign(&claims(""), SECRET);
    for end in 0..token.len() {
        assert!(issuer.judge(&token.as_bytes()[..end]).is_err());
    }
    for nonsense in ["..", "a.b.c", "e30.e30.", "eyJhbGciOiJIUzI1NiJ9..", "\u{0}.\u{0}.\u{0}"] {
        assert!(issuer.judge(nonsense.as_bytes()).is_err(), "{nonsense}");
    }
    assert!(issuer.judge(b"\xff.\xff.\xff").is_err());
}
