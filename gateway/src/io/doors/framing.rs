//! Ethernet frames, without their check sequence, in WebSocket messages.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// More than any frame has; a length beyond it is no length.
const MAX_FRAME: usize = 65_535 + 18;
/// An Ethernet header.
const MIN_FRAME: usize = 14;
const LENGTH: usize = 4;

/// How frames are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io) enum Framing {
    /// Each message is a frame (v86, JSLinux, TinyEMU).
    Frame,
    /// Messages are pieces of a stream of octets, in which each frame stands behind its length, 4 octets big-endian (QEMU).
    Length,
}

/// The client speaks the other framing, or none; the words are for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongFraming(pub &'static str);

/// Finds the frames in what a client sends. It keeps one frame that is not complete, at most.
#[derive(Debug)]
pub(super) struct Deframer {
    framing: Framing,
    is_first: bool,
    rest: BytesMut,
}

impl Deframer {
    pub(super) fn new(framing: Framing) -> Self {
        Self { framing, is_first: true, rest: BytesMut::new() }
    }

    /// The frames that a message completes.
    pub(super) fn take(&mut self, message: Bytes) -> Result<Vec<Bytes>, WrongFraming> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        match self.framing {
            Framing::Frame if is_first && looks_like_a_length(&message) => {
                Err(WrongFraming("wrong framing: at /ethernet/ a message is a frame; frames with lengths go to /qemu/"))
            }
            Framing::Frame => Ok(vec![message]),
            Framing::Length => self.split(&message),
        }
    }

    fn split(&mut self, message: &[u8]) -> Result<Vec<Bytes>, WrongFraming> {
        self.rest.extend_from_slice(message);
        let mut frames = Vec::new();
        while let Some(header) = self.rest.first_chunk::<LENGTH>() {
            let len = u32::from_be_bytes(*header) as usize;
            if !(1..=MAX_FRAME).contains(&len) {
                return Err(WrongFraming(
                    "wrong framing: at /qemu/ each frame stands behind its length, 4 octets; plain frames go to /ethernet/",
                ));
            }
            if self.rest.len() < LENGTH + len {
                break;
            }
            self.rest.advance(LENGTH);
            frames.push(self.rest.split_to(len).freeze());
        }
        Ok(frames)
    }
}

/// Begins with two zeros and a plausible length, and not with the address of a card that is in use anywhere.
fn looks_like_a_length(message: &[u8]) -> bool {
    message.first_chunk::<LENGTH>().is_some_and(|header| {
        header[..2] == [0, 0] && (MIN_FRAME..=MAX_FRAME).contains(&(u32::from_be_bytes(*header) as usize))
    })
}

/// The message or messages that carry these frames.
pub(super) fn messages(framing: Framing, frames: Vec<BytesMut>) -> Vec<Bytes> {
    match framing {
        Framing::Frame => frames.into_iter().map(BytesMut::freeze).collect(),
        Framing::Length => {
            let mut message = BytesMut::with_capacity(frames.iter().map(|it| it.len() + LENGTH).sum());
            for frame in &frames {
                message.put_u32(frame.len() as u32);
                message.extend_from_slice(frame);
            }
            vec![message.freeze()]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> BytesMut {
        (0..len).map(|at| at as u8 ^ len as u8).collect()
    }

    #[test]
    fn a_stream_can_be_cut_anywhere() {
        let frames: Vec<BytesMut> = [14, 60, 1514, 65_014].map(frame).to_vec();
        let stream = messages(Framing::Length, frames.clone()).remove(0);
        for step in [1, 3, 4, 5, 1000, stream.len()] {
            let mut deframer = Deframer::new(Framing::Length);
            let mut got = Vec::new();
            for piece in stream.chunks(step) {
                got.extend(deframer.take(Bytes::copy_from_slice(piece)).expect("good framing"));
            }
            assert_eq!(got, frames, "in pieces of {step}");
        }
    }

    #[test]
    fn the_other_framing_is_recognized() {
        let broadcast = Bytes::from_static(&[0xff; 60]);
        assert!(Deframer::new(Framing::Length).take(broadcast.clone()).is_err());
        assert!(Deframer::new(Framing::Length).take(Bytes::from_static(&[0; 4])).is_err());
        let stream = messages(Framing::Length, vec![frame(60)]).remove(0);
        assert!(Deframer::new(Framing::Frame).take(stream).is_err());
        let mut deframer = Deframer::new(Framing::Frame);
        assert_eq!(deframer.take(broadcast.clone()), Ok(vec![broadcast]));
        assert!(deframer.take(Bytes::from_static(&[0, 0, 1, 0, 0, 0])).is_ok());
    }
}
