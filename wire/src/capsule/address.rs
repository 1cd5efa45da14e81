use crate::error::Problem;
use crate::field::{Reader, Sink};
use alloc::vec::Vec;
use core::net::IpAddr;

/// One entry of ADDRESS_ASSIGN or ADDRESS_REQUEST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignedAddress {
    /// The request that this answers; 0 where the gateway assigns without one.
    pub request_id: u64,
    /// The address, or in a request the preferred one (all zero: any).
    pub prefix: Prefix,
}

/// An address and a prefix length in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Any address of the prefix.
    pub address: IpAddr,
    /// At most 32 or 128.
    pub length: u8,
}

/// One entry of ROUTE_ADVERTISEMENT. Both ends are of one family and `start <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// First address, inclusive.
    pub start: IpAddr,
    /// Last address, inclusive.
    pub end: IpAddr,
    /// IP protocol number; 0 means all.
    pub protocol: u8,
}

impl AssignedAddress {
    fn encode(&self, out: &mut impl Sink) {
        out.varint(self.request_id);
        out.address(self.prefix.address);
        out.u8(self.prefix.length);
    }

    fn decode(value: &mut Reader<'_>) -> Result<Self, Problem> {
        let request_id = value.varint()?;
        let address = value.address()?;
        let length = value.u8()?;
        if length > if address.is_ipv4() { 32 } else { 128 } {
            return Err(Problem::PrefixLength);
        }
        Ok(Self { request_id, prefix: Prefix { address, length } })
    }
}

impl AddressRange {
    fn encode(&self, out: &mut impl Sink) {
        out.address(self.start);
        out.ip(self.end);
        out.u8(self.protocol);
    }

    fn decode(value: &mut Reader<'_>) -> Result<Self, Problem> {
        let ipv6 = value.version_is_6()?;
        let range = Self { start: value.ip(ipv6)?, end: value.ip(ipv6)?, protocol: value.u8()? };
        if range.start > range.end {
            return Err(Problem::Range);
        }
        Ok(range)
    }

    /// The order that RFC 9484 section 4.7.3 demands of neighbours: by version, then protocol, then address, and
    /// without overlap within a version and protocol.
    fn precedes(&self, next: &Self) -> bool {
        let class = |range: &Self| (range.start.is_ipv6(), range.protocol);
        class(self) < class(next) || (class(self) == class(next) && self.end < next.start)
    }
}

pub(super) fn encode_assigned(entries: &[AssignedAddress], out: &mut impl Sink) {
    entries.iter().for_each(|entry| entry.encode(out));
}

pub(super) fn decode_assigned(value: &mut Reader<'_>) -> Result<Vec<AssignedAddress>, Problem> {
    value.list(AssignedAddress::decode)
}

/// A request has at least one entry, and each a request id other than 0.
pub(super) fn decode_requested(value: &mut Reader<'_>) -> Result<Vec<AssignedAddress>, Problem> {
    let entries = value.list(AssignedAddress::decode)?;
    if entries.is_empty() {
        return Err(Problem::Empty);
    }
    if entries.iter().any(|entry| entry.request_id == 0) {
        return Err(Problem::Value);
    }
    Ok(entries)
}

pub(super) fn encode_routes(entries: &[AddressRange], out: &mut impl Sink) {
    entries.iter().for_each(|entry| entry.encode(out));
}

pub(super) fn decode_routes(value: &mut Reader<'_>) -> Result<Vec<AddressRange>, Problem> {
    let entries = value.list(AddressRange::decode)?;
    if !entries.is_sorted_by(AddressRange::precedes) {
        return Err(Problem::Range);
    }
    Ok(entries)
}
