use crate::packet;

/// How much data one segment of a connection may carry, both ways of saying it included: the peer's MSS (RFC 9293 section
/// 3.7.1) and the path MTU (RFC 1191, RFC 8201).
///
/// The gateway clamps the MSS to what it knows of the path; a narrower hop behind it tells the sender by ICMP. smoltcp
/// 0.14 cannot lower the segment size of an open connection, and its segments may hold more than one anyway, so they are
/// cut on their way out. The value is kept as long as the connection: a path that widens again costs headers, not octets.
#[derive(Debug)]
pub(crate) struct SegmentLimit {
    /// `None` where its SYN had none, or has not come.
    peer_mss: Option<u16>,
    path_mtu: usize,
}

/// Smaller path MTUs are not believed: no path has them, and forged ones would only make many small packets (RFC 5927
/// section 7.2). That of IPv4 is what every host has to take (RFC 791 section 3.1), that of IPv6 the link minimum.
const MIN_IPV4: usize = 576;
const MIN_IPV6: usize = 1280;

/// As little as smoltcp believes an MSS to be.
const MIN_MSS: u16 = 48;

/// Octets of a TCP header without options, which an MSS does not count (RFC 6691).
const TCP_HEADER_LEN: usize = 20;

impl SegmentLimit {
    /// As wide as can be, until the path says something else.
    pub const fn new() -> Self {
        Self { peer_mss: None, path_mtu: usize::MAX }
    }

    /// The peer's SYN has announced it.
    pub fn heard_mss(&mut self, mss: u16) {
        self.peer_mss = Some(mss);
    }

    /// A router on the path forwards no more than `mtu` octets. Old ones do not say how much: 0.
    pub fn heard_mtu(&mut self, mtu: u32, is_ipv4: bool) {
        let minimum = if is_ipv4 { MIN_IPV4 } else { MIN_IPV6 };
        self.path_mtu = self.path_mtu.min(usize::try_from(mtu).unwrap_or(usize::MAX).max(minimum));
    }

    /// The peer's MSS, or what a peer takes that says nothing (RFC 9293 section 3.7.1).
    pub fn mss(&self, is_ipv4: bool) -> u16 {
        self.peer_mss.unwrap_or(if is_ipv4 { 536 } else { 1220 }).max(MIN_MSS)
    }

    /// Octets of data beside headers of `header_len` octets (IP and TCP) on a link with this MTU; at least 1.
    pub fn segment_size(&self, is_ipv4: bool, header_len: usize, link_mtu: usize) -> u16 {
        let mss = usize::from(self.mss(is_ipv4));
        let ip = if is_ipv4 { packet::IPV4_HEADER_LEN } else { packet::IPV6_HEADER_LEN };
        let packet_len = self.path_mtu.min(link_mtu).min(ip + TCP_HEADER_LEN + mss);
        u16::try_from(packet_len.saturating_sub(header_len)).unwrap_or(u16::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_of_all_holds() {
        let mut limit = SegmentLimit::new();
        assert_eq!((limit.segment_size(true, 40, 65_535), limit.segment_size(false, 60, 65_535)), (536, 1220));
        limit.heard_mss(9000);
        assert_eq!((limit.segment_size(true, 40, 65_535), limit.segment_size(false, 60, 65_535)), (9000, 9000));
        assert_eq!((limit.segment_size(true, 40, 1500), limit.segment_size(false, 60, 1500)), (1460, 1440));
        limit.heard_mtu(1400, true);
        assert_eq!(limit.segment_size(true, 40, 1500), 1360);
        limit.heard_mtu(9000, true);
        assert_eq!(limit.segment_size(true, 40, 9000), 1360, "it does not grow");
    }

    #[test]
    fn options_take_from_the_data() {
        let mut limit = SegmentLimit::new();
        limit.heard_mss(1460);
        assert_eq!(limit.segment_size(true, 52, 65_535), 1448);
    }

    #[test]
    fn forged_values_have_a_floor() {
        let mut limit = SegmentLimit::new();
        limit.heard_mss(0);
        assert_eq!(limit.segment_size(true, 40, 65_535), 48);
        assert_eq!(limit.segment_size(true, 100, 65_535), 1);
        limit.heard_mss(u16::MAX);
        limit.heard_mtu(0, true);
        assert_eq!(limit.segment_size(true, 40, 65_535), 536);
        let mut limit = SegmentLimit::new();
        limit.heard_mss(u16::MAX);
        limit.heard_mtu(68, false);
        assert_eq!(limit.segment_size(false, 60, 65_535), 1220);
    }
}
