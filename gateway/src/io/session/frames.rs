//! Takes the frames of a WebSocket apart (RFC 6455 section 5), without reading and without a clock.
//!
//! The codec would copy each part of a message that comes in several frames, as a browser sends a long one, into memory that it
//! has cleared before. Here what is read goes to its place in the message at once. Control frames are the codec's.

use bytes::buf::Limit;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io::Cursor;
use std::mem;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Octets that are read at once where a frame may begin.
const READ_AHEAD: usize = 16 * 1024;
/// Octets of a frame that are read at once: few enough that they are still in the processor's cache when they are unmasked.
const READ_INSIDE: usize = 128 * 1024;
/// The longest header, with a mask.
const LONGEST_HEADER: usize = 14;
/// RFC 6455 section 5.5.
const LONGEST_CONTROL: u64 = 125;
/// Octets that a message's memory is made for, at most, before they have come.
const RESERVED: usize = 1024 * 1024;

/// What has come.
#[derive(Debug)]
pub(super) enum Part {
    /// Text or binary.
    Message(Message),
    /// A control frame as it came.
    Control(Bytes),
}

#[derive(Debug)]
struct DataFrame {
    is_final: bool,
    /// Turned so that the next octet is masked by the first.
    mask: [u8; 4],
    left: usize,
}

/// The client's side of a WebSocket.
#[derive(Debug)]
pub(super) struct FrameReader {
    longest: usize,
    /// What was read behind the last frame.
    ahead: BytesMut,
    frame: Option<DataFrame>,
    /// Of the message that has begun.
    kind: Option<Data>,
    message: BytesMut,
    /// Octets of the last message. The next one is probably as long.
    last_len: usize,
}

impl FrameReader {
    /// `early` was read already. A message has `longest` octets at most.
    pub(super) fn new(early: &[u8], longest: usize) -> Self {
        let (ahead, message) = (BytesMut::from(early), BytesMut::new());
        Self { longest, ahead, frame: None, kind: None, message, last_len: 0 }
    }

    /// Where octets that are read have to go; then it wants to hear of it by [`FrameReader::filled`].
    pub(super) fn room(&mut self) -> Limit<&mut BytesMut> {
        let Some(frame) = &self.frame else {
            // Behind a part of a long message there comes the next one, whose octets had better go to their place.
            let is_inside = self.message.len() >= READ_AHEAD && self.ahead.len() < LONGEST_HEADER;
            let len = if is_inside { LONGEST_HEADER - self.ahead.len() } else { READ_AHEAD };
            self.ahead.reserve(len);
            return (&mut self.ahead).limit(len);
        };
        self.message.reserve(frame.left.min(RESERVED));
        (&mut self.message).limit(frame.left.min(READ_INSIDE))
    }

    /// So many octets have been put into the [`FrameReader::room`].
    pub(super) fn filled(&mut self, count: usize) {
        if let Some(frame) = &mut self.frame {
            let begin = self.message.len() - count;
            frame.unmask(&mut self.message[begin..]);
        }
    }

    /// What has come, or nothing until more was read.
    pub(super) fn poll(&mut self) -> Result<Option<Part>, Error> {
        loop {
            let Some(frame) = &mut self.frame else {
                match self.begin()? {
                    Some(control) => return Ok(Some(Part::Control(control))),
                    None if self.frame.is_some() => continue,
                    None => return Ok(None),
                }
            };
            let begin = self.message.len();
            let here = frame.left.min(self.ahead.len());
            self.message.extend_from_slice(&self.ahead[..here]);
            self.ahead.advance(here);
            frame.unmask(&mut self.message[begin..]);
            if frame.left > 0 {
                return Ok(None);
            }
            let is_final = frame.is_final;
            self.frame = None;
            if is_final {
                return self.complete().map(Some);
            }
        }
    }

    /// Begins the next frame, if its header has come. A control frame is taken out as a whole.
    fn begin(&mut self) -> Result<Option<Bytes>, Error> {
        let mut cursor = Cursor::new(&self.ahead[..]);
        let Some((header, len)) = FrameHeader::parse(&mut cursor)? else { return Ok(None) };
        let header_len = cursor.position() as usize;
        match header.opcode {
            OpCode::Control(_) => {
                if len > LONGEST_CONTROL {
                    return Err(ProtocolError::ControlFrameTooBig.into());
                }
                let whole = header_len + len as usize;
                Ok((self.ahead.len() >= whole).then(|| self.ahead.split_to(whole).freeze()))
            }
            OpCode::Data(kind) => {
                let frame = self.check(&header, kind, len)?;
                self.ahead.advance(header_len);
                let wanted = if frame.is_final { frame.left } else { self.last_len.max(frame.left) };
                if self.message.capacity() - self.message.len() < frame.left {
                    self.message.reserve(wanted.min(RESERVED));
                }
                self.frame = Some(frame);
                Ok(None)
            }
        }
    }

    fn check(&mut self, header: &FrameHeader, kind: Data, len: u64) -> Result<DataFrame, Error> {
        let left = usize::try_from(len).unwrap_or(usize::MAX);
        let size = left.saturating_add(self.message.len());
        if size > self.longest {
            return Err(CapacityError::MessageTooLong { size, max_size: self.longest }.into());
        }
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(ProtocolError::NonZeroReservedBits.into());
        }
        let Some(mask) = header.mask else { return Err(ProtocolError::UnmaskedFrameFromClient.into()) };
        match (kind, self.kind) {
            (Data::Continue, None) => return Err(ProtocolError::UnexpectedContinueFrame.into()),
            (Data::Continue, Some(_)) => {}
            (_, Some(_)) => return Err(ProtocolError::ExpectedFragment(kind).into()),
            (_, None) => self.kind = Some(kind),
        }
        Ok(DataFrame { is_final: header.is_final, mask, left })
    }

    fn complete(&mut self) -> Result<Part, Error> {
        self.last_len = self.message.len();
        let message = mem::take(&mut self.message);
        // Whoever keeps a part of a short one must not hold what was made ready for a long one.
        let is_short = message.len() < message.capacity() / 2;
        let message = if is_short { Bytes::copy_from_slice(&message) } else { message.freeze() };
        Ok(Part::Message(match self.kind.take() {
            Some(Data::Text) => Message::Text(message.try_into()?),
            _ => Message::Binary(message),
        }))
    }
}

impl DataFrame {
    /// Of its next octets.
    fn unmask(&mut self, octets: &mut [u8]) {
        let (words, rest) = octets.as_chunks_mut::<8>();
        let [a, b, c, d] = self.mask;
        let mask = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        words.iter_mut().for_each(|word| *word = (u64::from_ne_bytes(*word) ^ mask).to_ne_bytes());
        rest.iter_mut().zip(self.mask.into_iter().cycle()).for_each(|(octet, mask)| *octet ^= mask);
        self.left -= octets.len();
        self.mask.rotate_left(octets.len() % 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

    const LONGEST: usize = 200_000;

    /// A frame as a client may send it, or may not.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![
            8 => Just(0x82_u8), 8 => Just(0x02), 16 => Just(0x00), 8 => Just(0x80), 2 => Just(0x81),
            4 => Just(0x89), 4 => Just(0x8a), 1 => Just(0x88), 1 => any::<u8>().prop_filter("the codec looks at text before it is complete", |first| first & 0x8f != 0x01),
        ];
        let len = prop_oneof![8 => 0..126_usize, 2 => 126..70_000_usize, 1 => 60_000..LONGEST + 10];
        let mask = prop_oneof![40 => any::<[u8; 4]>().prop_map(Some), 1 => Just(None)];
        (first, len, mask, any::<u8>()).prop_map(|(first, len, mask, seed)| {
            let is_control = first & 0x08 != 0;
            let len = if is_control { len % if seed > 4 { 126 } else { 70_000 } } else { len };
            let mut octets = vec![first];
            let masked = if mask.is_some() { 0x80 } else { 0 };
            match len {
                0..126 => octets.push(masked | len as u8),
                126..0x1_0000 => {
                    octets.push(masked | 126);
                    octets.extend_from_slice(&(len as u16).to_be_bytes());
                }
                _ => {
                    octets.push(masked | 127);
                    octets.extend_from_slice(&(len as u64).to_be_bytes());
                }
            }
            octets.extend_from_slice(&mask.unwrap_or_default()[..if mask.is_some() { 4 } else { 0 }]);
            octets.extend((0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed));
            octets
        })
    }

    /// What was read, and how it ended.
    type Outcome = (Vec<Message>, &'static str);

    /// The codec alone, as everybody uses it.
    fn twin(octets: &[u8]) -> Outcome {
        struct Half<'a>(&'a [u8]);
        impl Read for Half<'_> {
            fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
                self.0.read(into)
            }
        }
        impl std::io::Write for Half<'_> {
            fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
                Ok(octets.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let config = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
        let (mut codec, mut stream) = (WebSocketContext::new(Role::Server, Some(config)), Half(octets));
        read_out(|| codec.read(&mut stream))
    }

    fn read_out(mut next: impl FnMut() -> Result<Message, Error>) -> Outcome {
        let mut seen = Vec::new();
        loop {
            match next() {
                Ok(message) => {
                    let is_last = message.is_close();
                    seen.push(message);
                    if is_last {
                        return (seen, "closed");
                    }
                }
                Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return (seen, "lost"),
                Err(error) => return (seen, refused(&error)),
            }
        }
    }

    fn refused(error: &Error) -> &'static str {
        assert!(matches!(error, Error::Protocol(_) | Error::Utf8(_) | Error::Capacity(_)), "{error}");
        "refused"
    }

    /// Ours, which gets as much as `cuts` say at once, and a codec for the control frames.
    fn ours(octets: &[u8], cuts: &[usize]) -> Outcome {
        let (mut rest, mut cuts) = (octets, cuts.iter().cycle());
        let mut reader = FrameReader::new(&[], LONGEST);
        read_out(|| {
            loop {
                match reader.poll()? {
                    Some(Part::Message(message)) => return Ok(message),
                    Some(Part::Control(frame)) => {
                        let (mut seen, ending) = twin(&frame);
                        assert!(seen.is_empty() == (ending == "refused"), "{ending}");
                        return seen.pop().ok_or_else(|| ProtocolError::FragmentedControlFrame.into());
                    }
                    None if rest.is_empty() => return Err(ProtocolError::ResetWithoutClosingHandshake.into()),
                    None => {
                        let mut room = reader.room();
                        let count = room.remaining_mut().min(rest.len()).min(*cuts.next().expect("a cycle"));
                        assert!(count > 0, "there is always room");
                        room.put_slice(&rest[..count]);
                        reader.filled(count);
                        rest = &rest[count..];
                    }
                }
            }
        })
    }

    #[test]
    fn a_short_message_after_a_long_one_holds_little_memory() {
        let long = [&[0x82, 0xff][..], &150_000_u64.to_be_bytes(), &[0; 4 + 150_000]].concat();
        let short = [0x02, 0x81, 0, 0, 0, 0, b'a', 0x80, 0x81, 0, 0, 0, 0, b'b'];
        let mut reader = FrameReader::new(&[&long[..], &short].concat(), LONGEST);
        let mut next = || match reader.poll() {
            Ok(Some(Part::Message(Message::Binary(message)))) => message.try_into_mut().expect("nobody else has it"),
            other => panic!("{other:?}"),
        };
        assert_eq!(next().len(), 150_000);
        let message = next();
        assert!(message == b"ab"[..] && message.capacity() < 100, "{}", message.capacity());
    }

    proptest! {
        #[test]
        fn it_reads_what_the_codec_reads(
            frames in prop::collection::vec(frame(), 1..24),
            cuts in prop::collection::vec(prop_oneof![1..20_usize, 1..200_000_usize], 1..8),
        ) {
            let octets = frames.concat();
            let (expected, ending) = twin(&octets);
            let (seen, our_ending) = ours(&octets, &cuts);
            // They are too long to be printed.
            prop_assert!(seen == expected, "after {} messages of {}", seen.len(), expected.len());
            prop_assert_eq!(our_ending, ending);
        }
    }
}
