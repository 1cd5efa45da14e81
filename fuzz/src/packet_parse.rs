use bytes::BytesMut;
use webtun_tests::packet::with_source;

use crate::gateway::{self, is_whole_header};

/// Arbitrary octets as a packet, from a session, from outside or from the inner host.
///
/// The first octet says where it comes from, and whether its source is made right. Whatever goes on has to be correct
/// in every length and checksum of its IP header, a packet of a session must not end the session, and the gateway has
/// to work afterwards.
pub fn packet_parse(data: &[u8]) {
    let Some((choice, octets)) = data.split_first() else { return };
    let mut direct = gateway::with_session();
    let mut packet = BytesMut::from(octets);
    if choice & 0x80 != 0 && is_whole_header(&packet) {
        let ipv6 = packet[0] >> 4 == 6;
        let source = match choice % 3 {
            0 => direct.sessions[0].endpoint(ipv6, 0).ip(),
            1 => gateway::remote(ipv6, 0).ip(),
            _ => gateway::inner_host(ipv6),
        };
        packet = with_source(packet, source);
    }
    match choice % 3 {
        0 => direct.send_packets(0, &[packet]).expect("no packet ends a session"),
        1 => direct.receive(packet),
        _ => direct.receive_local(packet),
    }
    for sent in direct.egress.drain(..) {
        gateway::check_ip(&sent);
    }
    gateway::works(&mut direct);
}
