use std::net::{IpAddr, Ipv4Addr};

use webtun_tests::rng::SimRng;
use webtun_wire::{AssignedAddress, BatchWriter, Capsule, MAX_MESSAGE_LEN, PortMapRequest, Prefix, capsule_type};

/// A message that ends the session.
pub fn broken(index: u64) -> Vec<u8> {
    let mut random = SimRng::new(index, "broken").vec(4096);
    match index % 6 {
        0 => random,
        // A datagram that claims more than there is.
        1 => [&[0, 0xbf, 0xff, 0xff, 0xff][..], &random].concat(),
        // A number that is out of order.
        2 => BatchWriter::with_sequence(MAX_MESSAGE_LEN, u64::MAX >> 3).finish(),
        // What only a gateway says.
        3 => encode(&[Capsule::ContextAck { context: 2 }]),
        // Received, and never sent.
        4 => encode(&[Capsule::Ack { next: 1 << 40 }]),
        _ => {
            random.resize(MAX_MESSAGE_LEN + 1, 0);
            random
        }
    }
}

/// A message full of requests, each of which wants an answer.
pub fn requests(index: u64) -> Vec<u8> {
    let mut batch = BatchWriter::new(16 * 1024);
    let mut count = index << 16;
    let mut room = true;
    while room {
        count += 1;
        room = batch.push(&request(index, count));
    }
    batch.finish()
}

fn request(index: u64, count: u64) -> Capsule<'static> {
    let port = (count % 65_535 + 1) as u16;
    match index % 5 {
        0 => Capsule::Ping { opaque: count },
        1 => Capsule::PortMapRequest(PortMapRequest {
            request_id: count,
            protocol: [6, 17][(count % 2) as usize],
            ipv6: count.is_multiple_of(3),
            internal_port: port,
            external_port: port,
            lifetime: u32::MAX,
        }),
        2 => Capsule::ContextAssign { context: count * 2 + 2, kind: 1 },
        3 => {
            let prefix = Prefix { address: IpAddr::V4(Ipv4Addr::new(100, 64, 0, 9)), length: 32 };
            Capsule::AddressRequest(vec![AssignedAddress { request_id: count + 1, prefix }])
        }
        _ => Capsule::Unknown { kind: capsule_type::PORT_MAP_RESPONSE + 1, value: &[7; 16] },
    }
}

fn encode(capsules: &[Capsule<'_>]) -> Vec<u8> {
    let mut message = Vec::new();
    capsules.iter().for_each(|capsule| capsule.encode(&mut message));
    message
}
