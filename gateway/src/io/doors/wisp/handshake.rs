//! INFO, both ways: which extensions there are, and who the client is (Wisp v2, "Protocol Extensions").

use super::{packet, reason};
use bytes::{BufMut, Bytes};

/// The challenge, in octets: the 512 bits that the specification has.
pub(super) const CHALLENGE_LEN: usize = 64;
/// Extensions that one INFO may have.
const MAX_EXTENSIONS: usize = 64;
/// The version that we speak.
const VERSION: (u8, u8) = (2, 0);
/// Ed25519 in the mask of algorithms.
const ED25519: u8 = 1;

mod extension {
    pub const UDP: u8 = 1;
    pub const PASSWORD: u8 = 2;
    pub const KEY: u8 = 3;
    pub const MOTD: u8 = 4;
    pub const CONFIRMATION: u8 = 5;
}

/// What the gateway says of itself.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    /// The client has to say who it is.
    pub is_required: bool,
    /// What is to be signed, where keys are known.
    pub challenge: Option<[u8; CHALLENGE_LEN]>,
    /// A welcome for people; empty where there is none.
    pub motd: String,
}

/// What the client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// It wants to be told when a stream is open.
    pub confirms: bool,
    pub password: Option<Bytes>,
    pub signature: Option<Signature>,
}

/// A key's, of the challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    /// SHA-256 of the public key.
    pub key: [u8; 32],
    pub signature: Bytes,
}

impl Offer {
    /// The first packet of a connection.
    pub(super) fn info(&self) -> Bytes {
        let mut all = Vec::new();
        let required = u8::from(self.is_required);
        put(&mut all, extension::UDP, &[]);
        put(&mut all, extension::PASSWORD, &[required]);
        if let Some(challenge) = &self.challenge {
            put(&mut all, extension::KEY, &[&[required, ED25519][..], challenge].concat());
        }
        if !self.motd.is_empty() {
            put(&mut all, extension::MOTD, self.motd.as_bytes());
        }
        put(&mut all, extension::CONFIRMATION, &[]);
        packet::info(VERSION, &all)
    }
}

fn put(all: &mut Vec<u8>, id: u8, payload: &[u8]) {
    all.put_u8(id);
    all.put_u32_le(payload.len() as u32);
    all.put_slice(payload);
}

/// Reads the payload of the client's INFO.
///
/// # Errors
/// The reason to close with.
pub(super) fn read(mut payload: Bytes) -> Result<Answer, u8> {
    if payload.len() < 2 {
        return Err(reason::INCOMPATIBLE);
    }
    // A later version speaks this one too, since ours is told to it.
    let mut extensions = payload.split_off(2);
    let mut answer = Answer::default();
    for _ in 0..MAX_EXTENSIONS {
        if extensions.is_empty() {
            return Ok(answer);
        }
        let (id, value) = take(&mut extensions).ok_or(reason::INCOMPATIBLE)?;
        match id {
            extension::PASSWORD if !value.is_empty() => {
                answer.password = Some(password(&value).ok_or(reason::WRONG_PASSWORD)?);
            }
            extension::KEY if !value.is_empty() => {
                answer.signature = Some(signature(&value).ok_or(reason::WRONG_SIGNATURE)?);
            }
            extension::CONFIRMATION => answer.confirms = true,
            _ => {}
        }
    }
    Err(reason::INCOMPATIBLE)
}

fn take(extensions: &mut Bytes) -> Option<(u8, Bytes)> {
    let &[id, a, b, c, d] = extensions.first_chunk()?;
    let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    let end = len.checked_add(5).filter(|end| *end <= extensions.len())?;
    let value = extensions.split_to(end).split_off(5);
    Some((id, value))
}

/// The password behind the name. Earlier drafts of the protocol, which clients speak still, have the password's length too.
fn password(value: &Bytes) -> Option<Bytes> {
    let name_len = usize::from(*value.first()?);
    if let Some(&[_, low, high]) = value.first_chunk() {
        let password_len = usize::from(u16::from_le_bytes([low, high]));
        if 3 + name_len + password_len == value.len() {
            return Some(value.slice(3 + name_len..));
        }
    }
    (value.len() > name_len).then(|| value.slice(1 + name_len..))
}

fn signature(value: &Bytes) -> Option<Signature> {
    let (&algorithm, rest) = value.split_first()?;
    let (key, _) = rest.split_first_chunk::<32>()?;
    (algorithm == ED25519).then(|| Signature { key: *key, signature: value.slice(33..) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn info(extensions: &[(u8, &[u8])]) -> Bytes {
        let mut all = vec![2, 0];
        extensions.iter().for_each(|(id, payload)| put(&mut all, *id, payload));
        all.into()
    }

    #[test]
    fn an_offer_is_as_the_specification_has_it() {
        let offer = Offer { is_required: true, challenge: Some([9; CHALLENGE_LEN]), motd: "hi".to_owned() };
        let mut expected = b"\x05\0\0\0\0\x02\x00\x01\0\0\0\0\x02\x01\0\0\0\x01\x03\x42\0\0\0\x01\x01".to_vec();
        expected.extend_from_slice(&[9; CHALLENGE_LEN]);
        expected.extend_from_slice(b"\x04\x02\0\0\0hi\x05\0\0\0\0");
        assert_eq!(offer.info()[..], expected);
        let open = Offer { is_required: false, challenge: None, motd: String::new() };
        assert_eq!(open.info()[..], *b"\x05\0\0\0\0\x02\x00\x01\0\0\0\0\x02\x01\0\0\0\x00\x05\0\0\0\0");
    }

    #[test]
    fn passwords_of_both_drafts_are_found() {
        let found = |value: &[u8]| read(info(&[(extension::PASSWORD, value)])).map(|answer| answer.password);
        assert_eq!(found(b"\x04userpass"), Ok(Some(Bytes::from_static(b"pass"))));
        assert_eq!(found(b"\x04\x04\x00userpass"), Ok(Some(Bytes::from_static(b"pass"))));
        assert_eq!(found(b"\x00"), Ok(Some(Bytes::new())));
        assert_eq!(found(b""), Ok(None));
        assert_eq!(found(b"\x05user"), Err(reason::WRONG_PASSWORD));
    }

    #[test]
    fn signatures_are_found() {
        let value = [&[1][..], &[7; 32], &[8; 64]].concat();
        let answer = read(info(&[(extension::UDP, b""), (extension::KEY, &value), (extension::CONFIRMATION, b"")]));
        let signature = Some(Signature { key: [7; 32], signature: Bytes::from_static(&[8; 64]) });
        assert_eq!(answer, Ok(Answer { confirms: true, password: None, signature }));
        for wrong in [&value[..20], &[&[2][..], &[7; 96]].concat()] {
            assert_eq!(read(info(&[(extension::KEY, wrong)])), Err(reason::WRONG_SIGNATURE));
        }
    }

    #[test]
    fn what_is_no_list_is_incompatible() {
        for wrong in [&b""[..], b"\x02", b"\x02\0\x01", b"\x02\0\x01\x01\0\0\0", b"\x02\0\x01\xff\xff\xff\xff"] {
            assert_eq!(read(Bytes::copy_from_slice(wrong)), Err(reason::INCOMPATIBLE));
        }
        assert_eq!(read(info(&[(0x77, &b""[..]); MAX_EXTENSIONS + 1])), Err(reason::INCOMPATIBLE));
        assert_eq!(read(info(&[(0x77, b"anything")])), Ok(Answer::default()));
    }

    proptest! {
        #[test]
        fn no_octets_are_too_strange(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(octets.into());
        }

        #[test]
        fn no_values_are_too_strange(id in 0u8..7, octets in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = read(info(&[(id, &octets)]));
        }
    }
}
