use std::net::{IpAddr, SocketAddr};
use webtun_tests::direct::Direct;

use crate::gateway;

/// RFC 6887 section 7: no message is longer, in octets.
const LONGEST: usize = 1100;

/// Requests for ports, PCP and NAT-PMP, any octets of them, and time between them.
///
/// Each request begins with an octet that chooses and one for its length in units of four. Answers are messages of their
/// protocol, a mapping exists where one was granted, and none beyond what the session may have.
pub fn pcp(data: &[u8]) {
    let mut direct = gateway::with_session();
    let mut rest = data;
    for _ in 0..32 {
        let Some((&[choice, len], behind)) = rest.split_first_chunk() else { break };
        let len = (usize::from(len) * 4 + usize::from(choice >> 6)).min(behind.len());
        let (request, behind) = behind.split_at(len);
        rest = behind;
        let from = direct.sessions[0].endpoint(choice & 1 != 0, 5350);
        let mut request = request.to_vec();
        if choice & 2 != 0 {
            write_client(&mut request, from.ip());
        }
        let now = direct.now;
        let answer = direct.gateway.answer_port_control(from, &request, now);
        direct.drain();
        if let Some(answer) = answer {
            check(&direct, from, &request, &answer);
        }
        if choice & 4 != 0 {
            direct.advance(std::time::Duration::from_secs(100));
        }
    }
    gateway::works(&mut direct);
}

/// The right address where PCP's header has it; without it nearly all requests end at the same place.
fn write_client(request: &mut [u8], client: IpAddr) {
    if let Some(field) = request.get_mut(8..24) {
        field.copy_from_slice(&mapped(client));
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn check(direct: &Direct, from: SocketAddr, request: &[u8], answer: &[u8]) {
    assert!(request[1] & 0x80 == 0, "a response is answered");
    assert_eq!(answer[1], request[1] | 0x80, "the opcode comes back");
    if answer[0] == 0 {
        assert!(from.is_ipv4() && [8, 12, 16].contains(&answer.len()), "{answer:x?}");
        return;
    }
    assert_eq!(answer[0], 2);
    assert!(answer.len() <= LONGEST && answer.len() >= 24 && answer.len().is_multiple_of(4), "{}", answer.len());
    let lifetime = u32::from_be_bytes([answer[4], answer[5], answer[6], answer[7]]);
    let is_map = answer[1] == 0x81 && answer[3] == 0;
    if is_map {
        assert!(answer.len() >= 60 && answer[24..36] == request[24..36], "the nonce comes back");
        assert!(lifetime == 0 || (120..=86_400).contains(&lifetime), "{lifetime}");
    }
    let mapped = direct.gateway.stats().mapped_ports;
    assert!(mapped <= 64 && (!is_map || lifetime == 0 || mapped > 0), "{mapped} mapped ports");
}
