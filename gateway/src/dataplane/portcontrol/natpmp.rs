//! NAT-PMP (RFC 6886).

use core::net::IpAddr;
use webtun_wire::{Instant, PortMapResult};

use crate::dataplane::{Gateway, MapRequest};

pub(super) const VERSION: u8 = 0;

const EXTERNAL_ADDRESS: u8 = 0;
const MAP_UDP: u8 = 1;
const MAP_TCP: u8 = 2;

/// Result codes of section 3.5.
const SUCCESS: u16 = 0;
const NOT_AUTHORIZED: u16 = 2;
const NETWORK_FAILURE: u16 = 3;
const OUT_OF_RESOURCES: u16 = 4;
const UNSUPPORTED_OPCODE: u16 = 5;

/// Answers a request of which the first two octets are known.
pub(super) fn answer(
    gateway: &mut Gateway,
    from: IpAddr,
    opcode: u8,
    request: &[u8],
    epoch: u32,
    now: Instant,
) -> Option<Vec<u8>> {
    let protocol = match opcode {
        EXTERNAL_ADDRESS => return Some(external_address(gateway, from, epoch)),
        MAP_UDP => 17,
        MAP_TCP => 6,
        _ => return Some(head(opcode, UNSUPPORTED_OPCODE, epoch)),
    };
    let fields: [u8; 12] = request.get(..12)?.try_into().ok()?;
    let [_, _, _, _, i0, i1, e0, e1, l0, l1, l2, l3] = fields;
    let internal_port = u16::from_be_bytes([i0, i1]);
    let external_port = u16::from_be_bytes([e0, e1]);
    let lifetime = u32::from_be_bytes([l0, l1, l2, l3]);
    let (result, external_port, lifetime) = if internal_port == 0 && lifetime == 0 {
        gateway.unmap_ports(from, Some(protocol), now);
        (SUCCESS, 0, 0)
    } else {
        let request =
            MapRequest { protocol, internal_port, external_port, prefer_failure: false, lifetime, nonce: None };
        let response = gateway.map_port(from, &request, now);
        match result_code(response.result) {
            SUCCESS if lifetime == 0 => (SUCCESS, 0, 0),
            SUCCESS => (SUCCESS, response.external.port(), response.lifetime),
            refusal => (refusal, external_port, 0),
        }
    };
    Some(mapping((opcode, result, epoch), internal_port, external_port, lifetime))
}

/// That no port is to be had, in answer to a request for one.
pub(super) fn refuse(opcode: u8, request: &[u8], epoch: u32) -> Option<Vec<u8>> {
    let [i0, i1, e0, e1] = request.get(4..8)?.try_into().ok()?;
    let (internal_port, external_port) = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([e0, e1]));
    Some(mapping((opcode, OUT_OF_RESOURCES, epoch), internal_port, external_port, 0))
}

fn mapping((opcode, result, epoch): (u8, u16, u32), internal_port: u16, external_port: u16, lifetime: u32) -> Vec<u8> {
    let mut out = head(opcode, result, epoch);
    out.extend(internal_port.to_be_bytes());
    out.extend(external_port.to_be_bytes());
    out.extend(lifetime.to_be_bytes());
    out
}

fn external_address(gateway: &Gateway, from: IpAddr, epoch: u32) -> Vec<u8> {
    let (result, address) = match gateway.external_address(from) {
        Some(IpAddr::V4(address)) => (SUCCESS, address.octets()),
        _ => (NETWORK_FAILURE, [0; 4]),
    };
    let mut out = head(EXTERNAL_ADDRESS, result, epoch);
    out.extend(address);
    out
}

fn head(opcode: u8, result: u16, epoch: u32) -> Vec<u8> {
    let mut out = vec![VERSION, opcode | 0x80];
    out.extend(result.to_be_bytes());
    out.extend(epoch.to_be_bytes());
    out
}

fn result_code(result: PortMapResult) -> u16 {
    match result {
        PortMapResult::Success => SUCCESS,
        PortMapResult::NotAuthorized | PortMapResult::MalformedRequest => NOT_AUTHORIZED,
        PortMapResult::UnsupportedProtocol => UNSUPPORTED_OPCODE,
        PortMapResult::CannotProvideExternal => NETWORK_FAILURE,
        PortMapResult::NoResources | PortMapResult::UserExceededQuota => OUT_OF_RESOURCES,
    }
}
