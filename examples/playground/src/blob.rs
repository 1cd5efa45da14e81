//! Pseudo-random octets of which any part can be made again from its offset alone.
//!
//! Octets 4i..4i+4 are the little-endian 32-bit word `mix(i)`, where `mix` is the 32-bit finalizer of MurmurHash3 over
//! `i + 1`. It is a bijection, so no word comes twice within 16 GiB: a lost, doubled or swapped piece changes the hash
//! and can be located without the original.

use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};

/// The most octets that are served: the words repeat afterwards.
pub const MAX_SIZE: u64 = 16 << 30;
const CHUNK: u64 = 64 << 10;

/// One word of the sequence.
pub fn mix(index: u32) -> u32 {
    let mut word = index.wrapping_add(1);
    word = (word ^ (word >> 16)).wrapping_mul(0x85eb_ca6b);
    word = (word ^ (word >> 13)).wrapping_mul(0xc2b2_ae35);
    word ^ (word >> 16)
}

/// The octets from `offset`, which is a multiple of 4, on.
fn fill(offset: u64, length: usize) -> Vec<u8> {
    let first = (offset / 4) as u32;
    let words = length.div_ceil(4) as u32;
    let mut octets: Vec<u8> = (0..words).flat_map(|at| mix(first.wrapping_add(at)).to_le_bytes()).collect();
    octets.truncate(length);
    octets
}

/// The first `size` octets, as a body that is made while it is sent.
pub struct Blob {
    sent: u64,
    size: u64,
    announced: bool,
}

impl Blob {
    /// `announced`: whether the length is known beforehand, and so stands in Content-Length.
    pub fn new(size: u64, announced: bool) -> Self {
        Self { sent: 0, size, announced }
    }

    fn next_chunk(&mut self) -> Option<Bytes> {
        let length = CHUNK.min(self.size - self.sent);
        if length == 0 {
            return None;
        }
        let chunk = fill(self.sent, length as usize);
        self.sent += length;
        Some(chunk.into())
    }
}

impl Body for Blob {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.next_chunk().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.announced && self.sent == self.size
    }

    fn size_hint(&self) -> SizeHint {
        if self.announced { SizeHint::with_exact(self.size - self.sent) } else { SizeHint::default() }
    }
}

/// SHA-256 of the first `size` octets, in hexadecimal digits.
pub fn sha256(size: u64) -> String {
    let mut blob = Blob::new(size, true);
    let mut hash = Sha256::new();
    while let Some(chunk) = blob.next_chunk() {
        hash.update(&chunk);
    }
    hex(&hash.finalize())
}

/// Lower-case hexadecimal digits.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(2 * octets.len()), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_documented_one() {
        assert_eq!([mix(0), mix(1), mix(2)], [0x514e_28b7, 0x30f4_c306, 0x85f0_b427]);
        assert_eq!(fill(0, 6), [0xb7, 0x28, 0x4e, 0x51, 0x06, 0xc3]);
    }

    #[test]
    fn a_part_equals_the_same_part_of_the_whole() {
        let whole = fill(0, 4096);
        assert_eq!(fill(1024, 999), whole[1024..1024 + 999]);
    }

    #[test]
    fn the_hash_covers_a_last_incomplete_chunk() {
        let size = CHUNK + 3;
        let expected = Sha256::digest(fill(0, size as usize));
        assert_eq!(sha256(size), hex(&expected));
    }
}
