//! PCP (RFC 6887).

use core::net::{IpAddr, Ipv6Addr};
use webtun_wire::{Instant, PortMapResult};

use crate::dataplane::{Gateway, MapRequest};

const VERSION: u8 = 2;
const HEADER: usize = 24;
/// Section 7: of one datagram, in octets.
const LONGEST: usize = 1100;
/// Where MAP's fields lie, behind the header (section 11.1).
const MAP_END: usize = HEADER + 36;

const ANNOUNCE: u8 = 0;
const MAP: u8 = 1;
const PREFER_FAILURE: u8 = 2;
/// Options from here on may be passed over (section 7.3).
const FIRST_OPTIONAL: u8 = 128;

/// Section 15: shorter lifetimes are raised to this one, in seconds. The longest is `NatConfig::max_map_lifetime`.
const LEAST_LIFETIME: u32 = 120;

/// For how long asking again is of no use, in seconds (section 7.4).
const SHORT_ERROR: u32 = 30;
const LONG_ERROR: u32 = 1800;

/// Result codes of section 7.4 that [`webtun_wire::PortMapResult`] has not, or that are found before a port is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Refusal {
    Version = 1,
    Malformed = 3,
    Opcode = 4,
    Option = 5,
    MalformedOption = 6,
    Protocol = 9,
    CannotProvideExternal = 11,
    AddressMismatch = 12,
}

/// What is granted.
struct Grant {
    result: u8,
    lifetime: u32,
    /// The assigned external port and address, in place of the suggested ones.
    external: Option<(u16, IpAddr)>,
}

/// Answers a datagram of at least two octets that is no response.
pub(super) fn answer(gateway: &mut Gateway, from: IpAddr, request: &[u8], epoch: u32, now: Instant) -> Vec<u8> {
    let grant = grant(gateway, from, request, now).unwrap_or_else(|refusal| Grant {
        result: refusal as u8,
        lifetime: LONG_ERROR,
        external: None,
    });
    respond(request, &grant, epoch)
}

/// That no port is to be had, in answer to a request for one.
pub(super) fn refuse(request: &[u8], epoch: u32) -> Vec<u8> {
    let refusal = Grant { result: PortMapResult::NoResources as u8, lifetime: SHORT_ERROR, external: None };
    respond(request, &refusal, epoch)
}

fn respond(request: &[u8], grant: &Grant, epoch: u32) -> Vec<u8> {
    // Section 8.2: what was asked comes back, cut or filled up to what a message may be; where it was granted, without the
    // options that were passed over (section 7.3).
    let mut out = request[..request.len().min(LONGEST)].to_vec();
    if grant.result == 0 {
        drop_optional(&mut out, if request[1] == MAP { MAP_END } else { HEADER });
    }
    out.resize(out.len().max(HEADER).next_multiple_of(4), 0);
    out[0] = VERSION;
    out[1] |= 0x80;
    out[2] = 0;
    out[3] = grant.result;
    out[4..8].copy_from_slice(&grant.lifetime.to_be_bytes());
    out[8..12].copy_from_slice(&epoch.to_be_bytes());
    out[12..HEADER].fill(0);
    if let Some((port, address)) = grant.external
        && let Some(fields) = out.get_mut(MAP_END - 18..MAP_END)
    {
        fields[..2].copy_from_slice(&port.to_be_bytes());
        fields[2..].copy_from_slice(&mapped(address));
    }
    out
}

fn grant(gateway: &mut Gateway, from: IpAddr, request: &[u8], now: Instant) -> Result<Grant, Refusal> {
    if request[0] != VERSION {
        return Err(Refusal::Version);
    }
    if !(HEADER..=LONGEST).contains(&request.len()) || !request.len().is_multiple_of(4) {
        return Err(Refusal::Malformed);
    }
    let lifetime = u32::from_be_bytes(octets(request, 4)?);
    if octets(request, 8)? != mapped(from) {
        return Err(Refusal::AddressMismatch);
    }
    match request[1] {
        ANNOUNCE => options(&request[HEADER..], false).map(|_| Grant { result: 0, lifetime: 0, external: None }),
        MAP => map(gateway, from, request, lifetime, now),
        _ => Err(Refusal::Opcode),
    }
}

fn map(gateway: &mut Gateway, from: IpAddr, request: &[u8], lifetime: u32, now: Instant) -> Result<Grant, Refusal> {
    let prefer_failure = options(request.get(MAP_END..).ok_or(Refusal::Malformed)?, true)?;
    let nonce = octets(request, HEADER)?;
    let protocol = request[HEADER + 12];
    let internal_port = u16::from_be_bytes(octets(request, HEADER + 16)?);
    let external_port = u16::from_be_bytes(octets(request, HEADER + 18)?);
    let suggested = Ipv6Addr::from(octets::<16>(request, HEADER + 20)?).to_canonical();
    if protocol == 0 && internal_port != 0 {
        return Err(Refusal::Malformed);
    }
    // All ports of a protocol, or all protocols.
    if internal_port == 0 {
        return Err(Refusal::Protocol);
    }
    let wants_ipv4 = suggested.is_ipv4() && from.is_ipv6();
    if prefer_failure && lifetime != 0 {
        let anywhere = suggested.is_unspecified();
        if anywhere && external_port == 0 {
            return Err(Refusal::MalformedOption);
        }
        let own = if wants_ipv4 { gateway.external_address_by_nat64(from) } else { gateway.external_address(from) };
        if !anywhere && own != Some(suggested) {
            return Err(Refusal::CannotProvideExternal);
        }
    }
    let lifetime = if lifetime == 0 { 0 } else { lifetime.max(LEAST_LIFETIME) };
    let request = MapRequest { protocol, internal_port, external_port, prefer_failure, lifetime, nonce: Some(nonce) };
    let response = match from {
        IpAddr::V6(v6) if lifetime == 0 => {
            gateway.map_port_by_nat64(v6, &request, now);
            gateway.map_port(from, &request, now)
        }
        IpAddr::V6(v6) if wants_ipv4 => gateway.map_port_by_nat64(v6, &request, now),
        _ => gateway.map_port(from, &request, now),
    };
    let is_granted = response.external.port() != 0;
    Ok(Grant {
        result: response.result as u8,
        lifetime: response.lifetime,
        external: is_granted.then(|| (response.external.port(), response.external.ip())),
    })
}

/// Whether PREFER_FAILURE is among the options. `of_map` says whether it may be.
fn options(mut rest: &[u8], of_map: bool) -> Result<bool, Refusal> {
    let mut prefer_failure = false;
    while !rest.is_empty() {
        let [code, _, len0, len1] = octets(rest, 0).map_err(|_| Refusal::MalformedOption)?;
        let len = usize::from(u16::from_be_bytes([len0, len1]));
        let end = 4 + len.next_multiple_of(4);
        match code {
            PREFER_FAILURE if of_map => {
                if prefer_failure || len != 0 {
                    return Err(Refusal::MalformedOption);
                }
                prefer_failure = true;
            }
            FIRST_OPTIONAL.. => {}
            _ => return Err(Refusal::Option),
        }
        rest = rest.get(end..).ok_or(Refusal::MalformedOption)?;
    }
    Ok(prefer_failure)
}

/// Takes out the options that need not be understood; the list has been found sound.
fn drop_optional(message: &mut Vec<u8>, begin: usize) {
    let mut at = begin;
    while let Ok([code, _, len0, len1]) = octets(message, at) {
        let end = at + 4 + usize::from(u16::from_be_bytes([len0, len1])).next_multiple_of(4);
        if code >= FIRST_OPTIONAL && end <= message.len() {
            message.drain(at..end);
        } else {
            at = end;
        }
    }
}

fn octets<const N: usize>(request: &[u8], at: usize) -> Result<[u8; N], Refusal> {
    request.get(at..at + N).and_then(|octets| octets.try_into().ok()).ok_or(Refusal::Malformed)
}

/// Section 5: IPv4 addresses are written as IPv4-mapped ones.
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
