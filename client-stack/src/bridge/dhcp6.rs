//! Stateless DHCPv6 (RFC 8415 section 18.3.6): an information-request is told of DNS. Addresses come by
//! autoconfiguration, and whoever asks for one by DHCPv6 gets no answer.

use bytes::{BufMut, BytesMut};
use webtun_wire::Instant;

use super::config::ROUTER_LINK_LOCAL;
use super::cut::is_checksum_right;
use super::frame::{EtherType, build};
use super::view::View;
use super::{FrameDrop, GuestId, Segment, has_v6};
use crate::packet::build_udp;

const INFORMATION_REQUEST: u8 = 11;
const REPLY: u8 = 7;
const OPTION_CLIENT_ID: u16 = 1;
const OPTION_SERVER_ID: u16 = 2;
const OPTION_DNS_SERVERS: u16 = 23;
/// RFC 8415 section 11.1.
const MAX_DUID: usize = 130;

impl Segment {
    pub(super) fn receive_dhcp6(
        &mut self,
        guest: GuestId,
        packet: &[u8],
        view: &View,
        now: Instant,
    ) -> Result<(), FrameDrop> {
        if !is_checksum_right(packet, view) {
            return Err(FrameDrop::Malformed);
        }
        self.claim(guest, view.source, now)?;
        let it = self.guests.get(&guest).ok_or(FrameDrop::NoSuchPort)?;
        let (port, mac, has_route) = (it.port, it.mac, has_v6(it.uplink));
        let message = &packet[view.header_len(packet)..];
        let Some((&[kind, a, b, c], options)) = message.split_first_chunk() else { return Err(FrameDrop::Malformed) };
        if kind != INFORMATION_REQUEST {
            return Err(FrameDrop::DhcpIgnored);
        }
        let our_id = [&[0, 3, 0, 1][..], &self.config.router_mac.0].concat();
        if option(options, OPTION_SERVER_ID).is_some_and(|id| id != our_id) {
            return Err(FrameDrop::DhcpIgnored);
        }
        let mut reply = BytesMut::with_capacity(64);
        reply.put_slice(&[REPLY, a, b, c]);
        put_option(&mut reply, OPTION_SERVER_ID, &our_id);
        if let Some(id) = option(options, OPTION_CLIENT_ID).filter(|id| id.len() <= MAX_DUID) {
            put_option(&mut reply, OPTION_CLIENT_ID, id);
        }
        if has_route {
            put_option(&mut reply, OPTION_DNS_SERVERS, &self.config.router_v6().octets());
        }
        let packet =
            build_udp((ROUTER_LINK_LOCAL.into(), 547), (view.source, 546), &reply).ok_or(FrameDrop::TooLong)?;
        self.send(port, build(mac, self.config.router_mac, EtherType::Ipv6, &packet))
    }
}

fn option(mut options: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some((&[a, b, c, d], rest)) = options.split_first_chunk() {
        let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([c, d])))?;
        if u16::from_be_bytes([a, b]) == wanted {
            return Some(data);
        }
        options = rest;
    }
    None
}

fn put_option(out: &mut BytesMut, code: u16, data: &[u8]) {
    out.put_u16(code);
    out.put_u16(data.len() as u16);
    out.put_slice(data);
}
