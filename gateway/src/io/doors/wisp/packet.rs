//! Packets of Wisp, one in each binary message: type, stream in little-endian, payload (Wisp v2, "Packet Format").

use bytes::{BufMut, Bytes, BytesMut};

/// Octets before the payload.
pub(super) const HEADER_LEN: usize = 5;
/// The longest hostname that is looked at, in octets: more than any name or address has.
const MAX_HOST: usize = 512;

/// The type octet.
mod kind {
    pub const CONNECT: u8 = 1;
    pub const DATA: u8 = 2;
    pub const CONTINUE: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const INFO: u8 = 5;
}

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// What a client may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Connect {
        transport: Transport,
        host: String,
        port: u16,
    },
    Data(Bytes),
    /// Clients grant nothing; it is read to be passed over.
    Continue(u32),
    Close(u8),
    Info(Bytes),
}

/// Why a message is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// It has no header, or a type that is unknown, or not the length of its type: the connection is beyond repair.
    Packet,
    /// CONNECT of this stream says nothing that could be connected to.
    Connect(u32),
}

/// Reads a message: the stream, and what it is told.
pub(super) fn parse(mut message: Bytes) -> Result<(u32, Packet), Malformed> {
    let Some(&[kind, a, b, c, d]) = message.first_chunk::<HEADER_LEN>() else { return Err(Malformed::Packet) };
    let stream = u32::from_le_bytes([a, b, c, d]);
    let payload = message.split_off(HEADER_LEN);
    let packet = match kind {
        kind::CONNECT => connect(&payload).ok_or(Malformed::Connect(stream))?,
        kind::DATA => Packet::Data(payload),
        kind::CONTINUE => {
            let buffer = payload.as_ref().try_into().map_err(|_| Malformed::Packet)?;
            Packet::Continue(u32::from_le_bytes(buffer))
        }
        // Some clients leave the reason out.
        kind::CLOSE => Packet::Close(payload.first().copied().unwrap_or(super::reason::UNKNOWN)),
        kind::INFO => Packet::Info(payload),
        _ => return Err(Malformed::Packet),
    };
    Ok((stream, packet))
}

fn connect(payload: &[u8]) -> Option<Packet> {
    let (&[transport, low, high], host) = payload.split_first_chunk()?;
    let transport = match transport {
        1 => Transport::Tcp,
        2 => Transport::Udp,
        _ => return None,
    };
    let port = u16::from_le_bytes([low, high]);
    let host = std::str::from_utf8(host).ok().filter(|host| (1..=MAX_HOST).contains(&host.len()))?;
    (port != 0).then(|| Packet::Connect { transport, host: host.to_owned(), port })
}

/// The header of DATA, with room for so many octets of it.
pub(super) fn data(stream: u32, room: usize) -> BytesMut {
    header(kind::DATA, stream, room)
}

/// CONTINUE: so many packets may follow.
pub(super) fn r#continue(stream: u32, packets: u32) -> Bytes {
    let mut packet = header(kind::CONTINUE, stream, 4);
    packet.put_u32_le(packets);
    packet.freeze()
}

/// CLOSE.
pub(super) fn close(stream: u32, reason: u8) -> Bytes {
    let mut packet = header(kind::CLOSE, stream, 1);
    packet.put_u8(reason);
    packet.freeze()
}

/// INFO, with what `extensions` has of extensions.
pub(super) fn info(version: (u8, u8), extensions: &[u8]) -> Bytes {
    let mut packet = header(kind::INFO, 0, 2 + extensions.len());
    packet.put_slice(&[version.0, version.1]);
    packet.put_slice(extensions);
    packet.freeze()
}

fn header(kind: u8, stream: u32, room: usize) -> BytesMut {
    let mut packet = BytesMut::with_capacity(HEADER_LEN + room);
    packet.put_u8(kind);
    packet.put_u32_le(stream);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(octets: &[u8]) -> Result<(u32, Packet), Malformed> {
        parse(Bytes::copy_from_slice(octets))
    }

    #[test]
    fn packets_are_as_the_specification_has_them() {
        let connect = parsed(b"\x01\x07\x00\x00\x00\x01\x50\x00example.org");
        let host = "example.org".to_owned();
        assert_eq!(connect, Ok((7, Packet::Connect { transport: Transport::Tcp, host, port: 80 })));
        let connect = parsed(b"\x01\x01\x02\x03\x04\x02\x35\x00::1");
        let host = "::1".to_owned();
        assert_eq!(connect, Ok((0x0403_0201, Packet::Connect { transport: Transport::Udp, host, port: 53 })));
        assert_eq!(parsed(b"\x02\x01\x00\x00\x00"), Ok((1, Packet::Data(Bytes::new()))));
        assert_eq!(parsed(b"\x04\x01\x00\x00\x00\x81"), Ok((1, Packet::Close(0x81))));
        assert_eq!(r#continue(0, 128)[..], *b"\x03\x00\x00\x00\x00\x80\x00\x00\x00");
        assert_eq!(close(258, 0x48)[..], *b"\x04\x02\x01\x00\x00\x48");
        assert_eq!(info((2, 0), b"\x01\0\0\0\0")[..], *b"\x05\0\0\0\0\x02\x00\x01\0\0\0\0");
    }

    #[test]
    fn what_cannot_be_connected_to_is_told_of_its_stream() {
        let too_long = [&b"\x01\x07\x00\x00\x00\x01\x50\x00"[..], &[b'a'; MAX_HOST + 1]].concat();
        for wrong in [
            &b"\x01\x07\x00\x00\x00"[..],
            b"\x01\x07\x00\x00\x00\x01\x50\x00",
            b"\x01\x07\x00\x00\x00\x03\x50\x00a",
            b"\x01\x07\x00\x00\x00\x01\x00\x00a",
            b"\x01\x07\x00\x00\x00\x01\x50\x00\xff",
            &too_long,
        ] {
            assert_eq!(parsed(wrong), Err(Malformed::Connect(7)), "{wrong:?}");
        }
        for wrong in [&b""[..], b"\x02\0\0\0", b"\x00\0\0\0\0", b"\x06\0\0\0\0", b"\x03\0\0\0\0\x01"] {
            assert_eq!(parsed(wrong), Err(Malformed::Packet), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_are_too_strange(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parsed(&octets);
        }

        #[test]
        fn what_is_written_is_read(stream: u32, octets in proptest::collection::vec(any::<u8>(), 0..64), number: u32) {
            let mut packet = data(stream, octets.len());
            packet.put_slice(&octets);
            prop_assert_eq!(parse(packet.freeze()), Ok((stream, Packet::Data(octets.clone().into()))));
            prop_assert_eq!(parse(r#continue(stream, number)), Ok((stream, Packet::Continue(number))));
            prop_assert_eq!(parse(close(stream, number as u8)), Ok((stream, Packet::Close(number as u8))));
            let told = info((2, 0), &octets).slice(HEADER_LEN..);
            prop_assert_eq!(parse(info((2, 0), &octets)), Ok((0, Packet::Info(told))));
        }
    }
}
