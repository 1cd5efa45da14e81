//! Messages whose long parts stay where they were read, and the memory of those once they are acknowledged.
//!
//! A gathering write (POSIX writev) takes such a message as it is. Putting it together would cost a copy of all of it, into
//! memory that the allocator gives back to the kernel as soon as it is acknowledged, so that the next one is zeroed page by page.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use webtun_wire::{BatchWriter, MAX_PACKET_LEN, OffloadHeader};

/// Octets from which on a part stays where it is. What is shorter is copied: a part has its price, and keeps the memory of
/// all that was read together with it, which for what a device or a stream's socket gives is four times as much at most.
pub(super) const LONG: usize = 16 * 1024;

/// A message in parts, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gather {
    parts: Vec<Bytes>,
    len: usize,
}

impl Gather {
    /// Octets of all parts.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where there is not an octet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The parts; none is empty.
    pub fn into_parts(self) -> Vec<Bytes> {
        self.parts
    }

    /// In one part, which takes a copy where there are several.
    pub fn into_bytes(mut self) -> Bytes {
        if self.parts.len() > 1 { self.parts.concat().into() } else { self.parts.pop().unwrap_or_default() }
    }

    fn push(&mut self, part: Bytes) {
        self.len += part.len();
        if !part.is_empty() {
            self.parts.push(part);
        }
    }
}

impl From<Bytes> for Gather {
    fn from(message: Bytes) -> Self {
        [message].into_iter().collect()
    }
}

impl FromIterator<Bytes> for Gather {
    fn from_iter<I: IntoIterator<Item = Bytes>>(parts: I) -> Self {
        let mut gather = Self::default();
        parts.into_iter().for_each(|part| gather.push(part));
        gather
    }
}

/// Builds one.
#[derive(Debug)]
pub(super) struct GatherWriter {
    /// What is not long is written here.
    pub batch: BatchWriter,
    /// Each belongs behind so many octets of the batch.
    long: Vec<(usize, Bytes)>,
}

impl GatherWriter {
    pub fn new(batch: BatchWriter) -> Self {
        Self { batch, long: Vec::new() }
    }

    /// Appends a packet; false, and nothing changed, where it does not fit. A long one is to be given by
    /// [`GatherWriter::append`] next.
    #[must_use]
    pub fn push_packet(&mut self, context: u64, offload: Option<&OffloadHeader>, packet: &[u8]) -> bool {
        match offload {
            _ if packet.len() >= LONG => self.batch.push_packet_head(context, offload, packet.len()),
            Some(offload) => self.batch.push_offload(context, offload, packet),
            None => self.batch.push_packet(context, packet),
        }
    }

    /// The same for octets of a stream.
    #[must_use]
    pub fn push_stream(&mut self, stream: u64, data: &[u8]) -> bool {
        if data.len() >= LONG {
            self.batch.push_stream_head(stream, data.len())
        } else {
            self.batch.push_stream(stream, data)
        }
    }

    /// What was pushed last, where that is long.
    pub fn append(&mut self, part: BytesMut) {
        if part.len() >= LONG {
            self.long.push((self.batch.written(), part.freeze()));
        }
    }

    pub fn finish(self) -> Gather {
        let mut rest = Bytes::from(self.batch.finish());
        let mut taken = 0;
        let mut gather = Gather::default();
        for (at, part) in self.long {
            gather.push(rest.split_to(at - taken));
            gather.push(part);
            taken = at;
        }
        gather.push(rest);
        gather
    }
}

/// Memory that is free again, for what is read next: at most [`SPARES`] buffers, of which the oldest is let go for another.
#[derive(Debug, Default)]
pub(super) struct Spare(VecDeque<BytesMut>);

/// Of packets of the largest size they are 4 MiB, which is what a session may have unacknowledged; of what streams have read,
/// 16 MiB.
const SPARES: usize = 64;

impl Spare {
    /// Keeps a message's memory, where nobody else has it any more.
    pub fn put(&mut self, message: Gather) {
        for part in message.parts {
            let Ok(mut buffer) = part.try_into_mut() else { continue };
            buffer.clear();
            // What was copied is as large as it was long, and of no use to a device.
            if buffer.try_reclaim(MAX_PACKET_LEN) {
                self.0.truncate(SPARES - 1);
                self.0.push_front(buffer);
            }
        }
    }

    /// An empty buffer with so much room, where there is one.
    pub fn take(&mut self, room: usize) -> Option<BytesMut> {
        let at = self.0.iter_mut().position(|buffer| buffer.try_reclaim(room))?;
        self.0.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use webtun_wire::MAX_MESSAGE_LEN;

    fn packet(len: usize) -> BytesMut {
        (0..len).map(|at| (at * 7) as u8).collect()
    }

    /// The same content, written whole.
    fn whole(packets: &[BytesMut]) -> Vec<u8> {
        let mut batch = BatchWriter::with_sequence(MAX_MESSAGE_LEN, 5);
        for (at, packet) in packets.iter().enumerate() {
            let is_taken = match at % 3 {
                0 => batch.push_packet(0, packet),
                1 => batch.push_offload(2, &OffloadHeader::default(), packet),
                _ => batch.push_stream(9, packet),
            };
            assert!(is_taken);
        }
        batch.finish()
    }

    fn gathered(packets: &[BytesMut]) -> Gather {
        let mut writer = GatherWriter::new(BatchWriter::with_sequence(MAX_MESSAGE_LEN, 5));
        for (at, packet) in packets.iter().enumerate() {
            let is_taken = match at % 3 {
                0 => writer.push_packet(0, None, packet),
                1 => writer.push_packet(2, Some(&OffloadHeader::default()), packet),
                _ => writer.push_stream(9, packet),
            };
            assert!(is_taken);
            writer.append(packet.clone());
        }
        writer.finish()
    }

    #[test]
    fn parts_are_the_message() {
        let lengths = [LONG, 1, LONG - 1, 65_000, LONG + 1, 300_000, 0, 40_000];
        for count in 0..=lengths.len() {
            let packets: Vec<_> = lengths[..count].iter().map(|len| packet(*len)).collect();
            let gather = gathered(&packets);
            assert_eq!(gather.len(), whole(&packets).len());
            assert!(gather.clone().into_parts().iter().all(|part| !part.is_empty()));
            assert_eq!(gather.into_bytes(), whole(&packets));
        }
    }

    #[test]
    fn a_long_part_takes_room_in_the_message() {
        let mut writer = GatherWriter::new(BatchWriter::new(100_000));
        assert!(writer.push_packet(0, None, &packet(60_000)));
        writer.append(packet(60_000));
        assert!(!writer.push_packet(0, None, &packet(60_000)), "it is too long");
        assert_eq!(writer.finish().len(), 60_006);
    }

    #[test]
    fn memory_is_used_again_once_nobody_has_it() {
        let (mut spare, mut buffer) = (Spare::default(), packet(66_000));
        let at = buffer.as_ptr();
        let head = buffer.split_to(10);
        let message = Gather::from(buffer.freeze());
        let other = message.clone();
        spare.put(message);
        assert!(spare.take(1).is_none(), "it is still to be sent");
        drop(head);
        spare.put(other);
        let again = spare.take(66_000).expect("it is there");
        assert_eq!((again.as_ptr(), again.len()), (at, 0));
        assert!(spare.take(1).is_none());
    }

    #[test]
    fn spare_memory_is_bounded() {
        let mut spare = Spare::default();
        spare.put(Gather::from(packet(LONG).freeze()));
        assert!(spare.take(1).is_none(), "no packet fits");
        (0..2 * SPARES).for_each(|_| spare.put(Gather::from(packet(66_000).freeze())));
        assert_eq!(spare.0.len(), SPARES);
        spare.put(Gather::from(packet(300_000).freeze()));
        assert!(spare.0.len() == SPARES && spare.take(300_000).is_some(), "the oldest has gone for it");
    }
}
