//! A message is a row of capsules; here it is taken apart.

use crate::capsule::Capsule;
use crate::error::{DecodeError, Problem};
use crate::{MAX_MESSAGE_LEN, capsule_type, varint};
use core::ops::Range;

/// Where a capsule lies in its message. It does not borrow, so that packets can be rewritten in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawCapsule {
    /// The capsule type, see [`capsule_type`].
    pub kind: u64,
    /// The value's octets in the message. The next capsule begins at `value.end`.
    pub value: Range<usize>,
}

impl RawCapsule {
    /// Decodes the value; `message` is the one that the capsule was found in.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Malformed`] where the value breaks a rule of its type, [`DecodeError::Truncated`] where
    /// `message` is too short to be the same.
    pub fn decode<'a>(&self, message: &'a [u8]) -> Result<Capsule<'a>, DecodeError> {
        let value = message.get(self.value.clone()).ok_or(DecodeError::Truncated)?;
        Capsule::decode_value(self.kind, value)
    }

    /// For a DATAGRAM its context and where the payload lies; `None` for every other type.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Malformed`] where the context id is cut short, [`DecodeError::Truncated`] as in
    /// [`RawCapsule::decode`].
    pub fn datagram(&self, message: &[u8]) -> Result<Option<(u64, Range<usize>)>, DecodeError> {
        self.numbered(capsule_type::DATAGRAM, message)
    }

    /// For STREAM_DATA its stream and where the octets lie; `None` for every other type.
    ///
    /// # Errors
    ///
    /// As for [`RawCapsule::datagram`].
    pub fn stream_data(&self, message: &[u8]) -> Result<Option<(u64, Range<usize>)>, DecodeError> {
        self.numbered(capsule_type::STREAM_DATA, message)
    }

    /// The number that a value of this type begins with, and where the rest lies.
    fn numbered(&self, kind: u64, message: &[u8]) -> Result<Option<(u64, Range<usize>)>, DecodeError> {
        if self.kind != kind {
            return Ok(None);
        }
        let value = message.get(self.value.clone()).ok_or(DecodeError::Truncated)?;
        let (number, len) = varint::decode(value).ok_or(DecodeError::Malformed { kind, problem: Problem::Short })?;
        Ok(Some((number, self.value.start + len..self.value.end)))
    }
}

/// The capsule that begins at `offset`, or `None` at the end of the message.
///
/// A loop with `offset = capsule.value.end` walks the message without borrowing it in between.
///
/// # Errors
///
/// [`DecodeError::Truncated`] where the message ends within the capsule, [`DecodeError::MessageTooLong`] where the
/// message exceeds [`MAX_MESSAGE_LEN`].
pub fn next_capsule(message: &[u8], offset: usize) -> Result<Option<RawCapsule>, DecodeError> {
    if message.len() > MAX_MESSAGE_LEN {
        return Err(DecodeError::MessageTooLong);
    }
    if offset == message.len() {
        return Ok(None);
    }
    let rest = message.get(offset..).ok_or(DecodeError::Truncated)?;
    let (kind, kind_len) = varint::decode(rest).ok_or(DecodeError::Truncated)?;
    let (len, len_len) = varint::decode(&rest[kind_len..]).ok_or(DecodeError::Truncated)?;
    let start = offset + kind_len + len_len;
    match usize::try_from(len) {
        Ok(len) if len <= message.len() - start => Ok(Some(RawCapsule { kind, value: start..start + len })),
        _ => Err(DecodeError::Truncated),
    }
}

/// Iterates over the capsules of a message without decoding their values. Ends after the first error.
pub fn split_capsules(message: &[u8]) -> RawCapsules<'_> {
    RawCapsules { message, offset: Some(0) }
}

/// Decodes the capsules of a message one after the other. Ends after the first error.
pub fn capsules(message: &[u8]) -> Capsules<'_> {
    Capsules { raw: split_capsules(message) }
}

/// See [`split_capsules`].
#[derive(Clone, Debug)]
pub struct RawCapsules<'a> {
    message: &'a [u8],
    /// `None` after the end or an error.
    offset: Option<usize>,
}

impl Iterator for RawCapsules<'_> {
    type Item = Result<RawCapsule, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = next_capsule(self.message, self.offset.take()?).transpose()?;
        if let Ok(raw) = &item {
            self.offset = Some(raw.value.end);
        }
        Some(item)
    }
}

impl core::iter::FusedIterator for RawCapsules<'_> {}

/// See [`capsules`].
#[derive(Clone, Debug)]
pub struct Capsules<'a> {
    raw: RawCapsules<'a>,
}

impl<'a> Iterator for Capsules<'a> {
    type Item = Result<Capsule<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.raw.next()?.and_then(|raw| raw.decode(self.raw.message));
        if item.is_err() {
            self.raw.offset = None;
        }
        Some(item)
    }
}

impl core::iter::FusedIterator for Capsules<'_> {}
