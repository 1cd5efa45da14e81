//! PCP (RFC 6887) through the segment's router: a request names its client, who has another address behind the tunnel.
//! Answers, and NAT-PMP (RFC 6886), name nobody inside.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use super::checksum::{Delta, adjust, sum};
use super::view::View;
use crate::packet::UDP;

const SERVER: u16 = 5351;
const VERSION: u8 = 2;
const RESPONSE: u8 = 0x80;
/// In a UDP datagram: the header, and behind eight octets of the request the client's address (section 7.1).
const CLIENT: Range<usize> = 16..32;

/// Whether this asks a PCP server.
pub(super) fn is_request(octets: &[u8], view: &View) -> bool {
    let is_whole = view.is(UDP) && !view.is_fragment && view.len - view.transport >= CLIENT.end;
    is_whole && view.ports(octets).1 == SERVER && {
        let request = &octets[view.transport + 8..];
        request[0] == VERSION && request[1] & RESPONSE == 0
    }
}

/// Puts the session's address in the place of the guest's. Another one, which the server is to refuse, stays.
pub(super) fn translate_client(octets: &mut [u8], view: &View, guest: IpAddr, own: IpAddr) {
    let datagram = &mut octets[view.transport..view.len];
    let Some(client) = datagram.get_mut(CLIENT) else { return };
    if *client != mapped(guest).octets() {
        return;
    }
    let before = sum(client);
    client.copy_from_slice(&mapped(own).octets());
    let mut delta = Delta::default();
    delta.change(before, sum(client));
    // 0: none (RFC 768).
    if datagram[6..8] != [0, 0] {
        adjust(datagram, 6, delta);
        if datagram[6..8] == [0, 0] {
            datagram[6..8].fill(0xff);
        }
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
