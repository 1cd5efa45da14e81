use bytes::BytesMut;
use std::net::{Ipv4Addr, Ipv6Addr};
use webtun_stack::bridge::{Event, FrameDrop, GuestId, PortId, Segment, SegmentConfig, Uplink};
use webtun_wire::{Instant, OFFLOAD_HEADER_LEN, OffloadHeader};

/// Frames, packets from the tunnel and time, as they come: two octets of length, one that says what it is, then octets.
///
/// Nothing panics; a guest's tunnel gets packets from its own address alone, as long as they say; what waits
/// keeps its bound; and a well-behaved neighbour gets its answer afterwards.
pub fn bridge_frame(data: &[u8]) {
    let mut now = Instant::from_millis(1000);
    let config = SegmentConfig { mtu: 9000, queue_octets: 100_000, ..SegmentConfig::default() };
    let mut segment = Segment::new(config, [5; 32]).expect("a configuration");
    let ports = [segment.add_port(0, now), segment.add_port(1, now)].map(|port| port.expect("a port"));
    let mut guests = Vec::new();
    let mut rest = data;
    while let Some((&[high, low, choice], after)) = rest.split_first_chunk() {
        let (octets, after) = after.split_at(usize::from(u16::from_be_bytes([high, low])).min(after.len()));
        rest = after;
        match choice & 7 {
            0..=4 => segment.handle_frame(ports[usize::from(choice >> 7)], octets, now),
            5 | 6 => from_tunnel(&mut segment, &guests, choice, octets),
            _ => {
                now += std::time::Duration::from_millis(octets.len() as u64 * u64::from(choice));
                segment.handle_timeout(now);
            }
        }
        drain(&mut segment, &mut guests, now);
        ports.iter().for_each(|port| assert!(segment.waiting_frames(*port) <= 100_000 + 9014));
        if choice & 8 != 0 {
            take(&mut segment, ports);
        }
    }
    take(&mut segment, ports);
    works(&mut segment, now);
    let dropped: u64 = FrameDrop::ALL.into_iter().map(|reason| segment.stats().drops(reason)).sum();
    assert_eq!(dropped, segment.stats().total_drops());
}

fn own(guest: usize) -> (Ipv4Addr, Ipv6Addr) {
    let [high, low] = (guest as u16 + 2).to_be_bytes();
    (Ipv4Addr::new(100, 64, high, low), Ipv6Addr::new(0xfd77, 0x6562, 0x7475, 0, 0, 0, 0, guest as u16 + 2))
}

fn from_tunnel(segment: &mut Segment, guests: &[GuestId], choice: u8, octets: &[u8]) {
    let Some(guest) = guests.get(usize::from(choice >> 3 & 3)) else { return };
    if choice & 7 == 5 {
        return segment.handle_packet(*guest, BytesMut::from(octets), OffloadHeader::default());
    }
    if let Ok(header) = OffloadHeader::decode(octets) {
        segment.handle_packet(*guest, BytesMut::from(&octets[OFFLOAD_HEADER_LEN..]), header);
    }
}

fn drain(segment: &mut Segment, guests: &mut Vec<GuestId>, now: Instant) {
    while let Some(event) = segment.poll_event() {
        if let Event::GuestSeen { guest, .. } = event {
            let (v4, v6) = own(guests.len());
            let (host_v4, host_v6) =
                (Ipv4Addr::new(100, 64, 0, 1), Ipv6Addr::new(0xfd77, 0x6562, 0x7475, 0, 0, 0, 0, 1));
            let offload = guests.len().is_multiple_of(2);
            guests.push(guest);
            let hosts = (Some(host_v4), Some(host_v6));
            let uplink = Uplink { v4: Some(v4), v6: Some(v6), host_v4: hosts.0, host_v6: hosts.1, offload };
            segment.set_uplink(guest, Some(uplink), now);
        }
    }
    for (index, guest) in guests.iter().enumerate() {
        while let Some((packet, _)) = segment.poll_packet(*guest) {
            let source = if packet[0] >> 4 == 4 {
                assert_eq!(packet[2..4], (packet.len() as u16).to_be_bytes());
                Ipv4Addr::from(<[u8; 4]>::try_from(&packet[12..16]).expect("four")).into()
            } else {
                std::net::IpAddr::from(<[u8; 16]>::try_from(&packet[8..24]).expect("sixteen"))
            };
            let (v4, v6) = own(index);
            assert!(source == v4 || source == v6, "{source} is not guest {index}");
        }
    }
}

fn take(segment: &mut Segment, ports: [PortId; 2]) {
    for port in ports {
        while let Some(frame) = segment.poll_frame(port) {
            assert!((14..=9014).contains(&frame.len()));
        }
    }
}

/// A guest at a port of its own asks for the router, and is told.
fn works(segment: &mut Segment, now: Instant) {
    let port = segment.add_port(0, now).expect("a port");
    let mac = [2, 9, 9, 9, 9, 9];
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let request = [&[0xff; 6][..], &mac, &[8, 6], &head, &mac, &[0; 4], &[0; 6], &[192, 168, 127, 1]].concat();
    segment.handle_frame(port, &request, now);
    let reply = segment.poll_frame(port).expect("the router answers");
    assert_eq!((&reply[..6], &reply[28..32]), (&mac[..], &[192, 168, 127, 1][..]));
}
