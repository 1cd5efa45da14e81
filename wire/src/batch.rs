use crate::capsule::Capsule;
use crate::field::Sink;
use crate::varint::varint_len;
use crate::{MAX_MESSAGE_LEN, OffloadHeader, capsule_type};
use alloc::vec::Vec;

/// Builds one message out of capsules and packets, up to a length.
#[derive(Debug)]
pub struct BatchWriter {
    buffer: Vec<u8>,
    /// Octets of payloads that are not in it.
    elsewhere: usize,
    limit: usize,
    has_content: bool,
}

impl BatchWriter {
    /// A message of at most `limit` octets, and never more than [`MAX_MESSAGE_LEN`].
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), elsewhere: 0, limit: limit.min(MAX_MESSAGE_LEN), has_content: false }
    }

    /// Makes room for so many octets at once, and not in steps; no more than the message may have.
    pub fn expect(&mut self, octets: usize) {
        self.buffer.reserve(octets.min(self.room()));
    }

    /// A message that begins with SEQUENCE. The capsule is written even where `limit` is too small for it.
    pub fn with_sequence(limit: usize, number: u64) -> Self {
        let mut writer = Self::new(limit);
        Capsule::Sequence { number }.encode(&mut writer.buffer);
        writer
    }

    /// Appends a capsule; false, and nothing changed, where it does not fit.
    #[must_use]
    pub fn push(&mut self, capsule: &Capsule<'_>) -> bool {
        if capsule.encoded_len() > self.room() {
            return false;
        }
        capsule.encode(&mut self.buffer);
        self.has_content |= !matches!(capsule, Capsule::Sequence { .. } | Capsule::Ack { .. });
        true
    }

    /// Appends a DATAGRAM; false, and nothing changed, where it does not fit.
    #[must_use]
    pub fn push_packet(&mut self, context: u64, packet: &[u8]) -> bool {
        self.push_datagram(context, &[], packet)
    }

    /// Appends a DATAGRAM of a context of kind OFFLOAD; false, and nothing changed, where it does not fit.
    #[must_use]
    pub fn push_offload(&mut self, context: u64, header: &OffloadHeader, packet: &[u8]) -> bool {
        self.push_datagram(context, &header.encode(), packet)
    }

    /// Appends STREAM_DATA; false, and nothing changed, where it does not fit.
    #[must_use]
    pub fn push_stream(&mut self, stream: u64, data: &[u8]) -> bool {
        self.push_numbered(capsule_type::STREAM_DATA, stream, &[], data)
    }

    /// Appends the beginning of a DATAGRAM whose packet, of `len` octets, is not copied: it belongs behind what
    /// [`BatchWriter::written`] says then. With `offload`, the context is one of kind OFFLOAD. False, and nothing changed,
    /// where the whole does not fit.
    #[must_use]
    pub fn push_packet_head(&mut self, context: u64, offload: Option<&OffloadHeader>, len: usize) -> bool {
        let header = offload.map(OffloadHeader::encode);
        let header = header.as_ref().map_or(&[][..], |header| &header[..]);
        self.push_head(capsule_type::DATAGRAM, context, header, len)
    }

    /// The same for STREAM_DATA.
    #[must_use]
    pub fn push_stream_head(&mut self, stream: u64, len: usize) -> bool {
        self.push_head(capsule_type::STREAM_DATA, stream, &[], len)
    }

    /// Octets of the message that are in the writer itself.
    pub fn written(&self) -> usize {
        self.buffer.len()
    }

    /// How many octets of STREAM_DATA of this stream still fit.
    pub fn stream_room(&self, stream: u64) -> usize {
        self.value_room(capsule_type::STREAM_DATA).saturating_sub(varint_len(stream))
    }

    fn push_datagram(&mut self, context: u64, header: &[u8], packet: &[u8]) -> bool {
        self.push_numbered(capsule_type::DATAGRAM, context, header, packet)
    }

    fn push_numbered(&mut self, kind: u64, number: u64, header: &[u8], payload: &[u8]) -> bool {
        let has_room = self.push_head(kind, number, header, payload.len());
        if has_room {
            self.buffer.octets(payload);
            self.elsewhere -= payload.len();
        }
        has_room
    }

    fn push_head(&mut self, kind: u64, number: u64, header: &[u8], payload_len: usize) -> bool {
        let value_len = varint_len(number) + header.len() + payload_len;
        let header_len = varint_len(kind) + varint_len(value_len as u64);
        if header_len + value_len > self.room() {
            return false;
        }
        self.buffer.varint(kind);
        self.buffer.count(value_len);
        self.buffer.varint(number);
        self.buffer.octets(header);
        self.elsewhere += payload_len;
        self.has_content = true;
        true
    }

    /// The longest value of a capsule of one of our own types that still fits.
    pub fn capsule_room(&self) -> usize {
        self.value_room(capsule_type::OWN_BASE)
    }

    /// The longest packet of context 0 that still fits; 0 also where not even an empty one does.
    pub fn packet_room(&self) -> usize {
        self.value_room(capsule_type::DATAGRAM).saturating_sub(varint_len(0))
    }

    /// The longest value of a capsule that still fits.
    fn value_room(&self, kind: u64) -> usize {
        let Some(rest) = self.room().checked_sub(varint_len(kind)) else { return 0 };
        // Which width of the length suits depends on the length itself; the widest is enough for any message.
        let value_len = [1, 2, 4].map(|len| rest.saturating_sub(len).min(largest_with(len)));
        value_len.into_iter().fold(0, usize::max)
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.len())
    }

    /// Octets so far, wherever they are.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.elsewhere
    }

    /// True where there is nothing worth sending: no capsule besides SEQUENCE and ACK.
    pub fn is_empty(&self) -> bool {
        !self.has_content
    }

    /// The message, without what is elsewhere.
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }
}

/// The largest number whose variable-length encoding takes `len` octets.
const fn largest_with(len: usize) -> usize {
    (1 << (8 * len - 2)) - 1
}
