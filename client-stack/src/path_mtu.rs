use bytes::BytesMut;
use etherparse::{IpHeaders, PacketBuilder, TcpHeader};

/// The path MTU of one connection (RFC 1191, RFC 8201), and segments cut to it.
///
/// The gateway clamps the MSS to what it knows of the path; a narrower hop behind it tells the sender by ICMP. smoltcp
/// 0.14 cannot lower the segment size of an open connection, so a segment that is too long is cut here, on its way out.
/// The value is kept as long as the connection: a path that widens again costs headers, not octets.
#[derive(Debug)]
pub(crate) struct PathMtu(usize);

/// Smaller values are not believed: no path has them, and forged ones would only make many small packets (RFC 5927
/// section 7.2). That of IPv4 is what every host has to take (RFC 791 section 3.1), that of IPv6 the link minimum.
const MIN_IPV4: usize = 576;
const MIN_IPV6: usize = 1280;

impl PathMtu {
    /// As wide as can be, until the path says something else.
    pub const fn new() -> Self {
        Self(usize::MAX)
    }

    /// A router on the path forwards no more than `mtu` octets. Old ones do not say how much: 0.
    pub fn heard(&mut self, mtu: u32, is_ipv4: bool) {
        let minimum = if is_ipv4 { MIN_IPV4 } else { MIN_IPV6 };
        self.0 = self.0.min(usize::try_from(mtu).unwrap_or(usize::MAX).max(minimum));
    }

    /// Hands the packet on, in pieces where it is too long. What follows it on the connection comes with the last one.
    pub fn cut(&self, packet: BytesMut, mut send: impl FnMut(BytesMut)) {
        if packet.len() <= self.0 {
            return send(packet);
        }
        match self.pieces(&packet) {
            Some(pieces) => pieces.into_iter().for_each(send),
            None => send(packet),
        }
    }

    /// `None` where the packet is no TCP segment with data.
    fn pieces(&self, packet: &[u8]) -> Option<Vec<BytesMut>> {
        let (ip, rest) = IpHeaders::from_slice(packet).ok()?;
        let (tcp, payload) = TcpHeader::from_slice(rest.payload).ok()?;
        let room = self.0.checked_sub(packet.len() - payload.len()).filter(|room| *room > 0)?;
        let last = payload.len().div_ceil(room).checked_sub(1)?;
        let mut pieces = Vec::with_capacity(last + 1);
        for (index, part) in payload.chunks(room).enumerate() {
            let mut head = tcp.clone();
            head.sequence_number = tcp.sequence_number.wrapping_add((index * room) as u32);
            head.psh &= index == last;
            head.fin &= index == last;
            let mut piece = Vec::with_capacity(packet.len() - payload.len() + part.len());
            PacketBuilder::ip(ip.clone()).tcp_header(head).write_to_vec(&mut piece, part).ok()?;
            pieces.push(BytesMut::from(piece.as_slice()));
        }
        Some(pieces)
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{IpSlice, TcpSlice};

    use super::*;

    fn segment(is_ipv4: bool, payload: &[u8]) -> BytesMut {
        let mut packet = Vec::new();
        let start = u32::MAX - 100;
        if is_ipv4 {
            let builder = PacketBuilder::ipv4([100, 64, 0, 2], [192, 0, 2, 80], 64).tcp(1000, 80, start, 5000);
            builder.ack(77).psh().fin().write_to_vec(&mut packet, payload).unwrap();
        } else {
            let builder = PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(1000, 80, start, 5000);
            builder.ack(77).psh().fin().write_to_vec(&mut packet, payload).unwrap();
        }
        BytesMut::from(packet.as_slice())
    }

    fn cut(path: &PathMtu, packet: BytesMut) -> Vec<BytesMut> {
        let mut out = Vec::new();
        path.cut(packet, |piece| out.push(piece));
        out
    }

    #[test]
    fn the_pieces_carry_what_the_segment_did() {
        let payload: Vec<u8> = (0..3000_u32).map(|index| index as u8).collect();
        for is_ipv4 in [true, false] {
            let mut path = PathMtu::new();
            path.heard(1300, is_ipv4);
            let pieces = cut(&path, segment(is_ipv4, &payload));
            let mut seen = Vec::new();
            for (index, piece) in pieces.iter().enumerate() {
                assert!(piece.len() <= 1300);
                let ip = IpSlice::from_slice(piece).unwrap();
                let tcp = TcpSlice::from_slice(ip.payload().payload).unwrap();
                assert_eq!(tcp.sequence_number(), (u32::MAX - 100).wrapping_add(seen.len() as u32));
                let is_last = index + 1 == pieces.len();
                assert_eq!((tcp.fin(), tcp.psh(), tcp.ack()), (is_last, is_last, true));
                let sum = match &ip {
                    IpSlice::Ipv4(ipv4) => tcp.calc_checksum_ipv4(ipv4.header().source(), ipv4.header().destination()),
                    IpSlice::Ipv6(ipv6) => tcp.calc_checksum_ipv6(ipv6.header().source(), ipv6.header().destination()),
                };
                assert_eq!(sum.unwrap(), tcp.checksum());
                seen.extend_from_slice(tcp.payload());
            }
            assert_eq!(seen, payload);
        }
    }

    #[test]
    fn what_fits_is_left_alone_and_forged_values_have_a_floor() {
        let mut path = PathMtu::new();
        let packet = segment(true, &[7; 500]);
        path.heard(0, true);
        assert_eq!(cut(&path, packet.clone()), [packet]);
        assert_eq!(cut(&path, segment(true, &[7; 537])).len(), 2);
        path.heard(9000, true);
        assert_eq!(cut(&path, segment(true, &[7; 537])).len(), 2, "it does not grow");
        let mut path = PathMtu::new();
        path.heard(68, false);
        assert_eq!(cut(&path, segment(false, &[7; 1220])).len(), 1);
    }

    #[test]
    fn what_is_no_segment_passes() {
        let mut path = PathMtu::new();
        path.heard(576, true);
        for first in [0x45, 0x60, 0] {
            let packet = BytesMut::from(vec![first; 700].as_slice());
            assert_eq!(cut(&path, packet.clone()), [packet]);
        }
    }
}
