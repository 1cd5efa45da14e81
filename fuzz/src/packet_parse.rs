use bytes::BytesMut;
use webtun_gateway::dataplane::EgressOffload;
use webtun_tests::direct::OFFLOAD_CONTEXT;
use webtun_tests::packet::{Offloaded, with_source};
use webtun_wire::{Capsule, OFFLOAD_HEADER_LEN, OffloadHeader};

use crate::gateway::{self, is_whole_header};

/// Arbitrary octets as a packet, from a session, from outside or from the inner host.
///
/// The first octet says where it comes from, whether its source is made right, and whether an offload header stands before
/// it. Whatever goes on has to be correct in every length and checksum of its IP header, a packet of a session must not end
/// the session, and the gateway has to work afterwards.
pub fn packet_parse(data: &[u8]) {
    let Some((choice, octets)) = data.split_first() else { return };
    let has_header = choice & 0x40 != 0 && choice % 3 != 2 && octets.len() >= OFFLOAD_HEADER_LEN;
    let device = if choice & 0x20 != 0 { EgressOffload::All } else { EgressOffload::None };
    let mut direct = gateway::with_device(device);
    let (header, octets) = octets.split_at(if has_header { OFFLOAD_HEADER_LEN } else { 0 });
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
        0 if has_header => {
            direct.open_offload(0);
            let payload = [header, &packet].concat();
            let datagram = Capsule::Datagram { context: OFFLOAD_CONTEXT, payload: &payload };
            direct.send_capsules(0, &[datagram]).expect("no packet ends a session");
        }
        1 if has_header => {
            if let Ok(header) = OffloadHeader::decode(&[header, &packet].concat()) {
                direct.receive_offloaded(Offloaded { header, packet });
            }
        }
        0 => direct.send_packets(0, &[packet]).expect("no packet ends a session"),
        1 => direct.receive(packet),
        _ => direct.receive_local(packet),
    }
    let unfinished = direct.egress_offload.drain(..).map(|it| it.packet);
    for sent in direct.egress.drain(..).chain(unfinished) {
        gateway::check_ip(&sent);
    }
    gateway::works(&mut direct);
}
