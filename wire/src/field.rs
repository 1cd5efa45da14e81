//! The fields that capsule values are made of.

use crate::error::Problem;
use crate::varint;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where encoders write: a buffer, or a counter, so that each layout is written down once and measures itself.
pub(crate) trait Sink {
    fn octets(&mut self, octets: &[u8]);

    fn u8(&mut self, value: u8) {
        self.octets(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.octets(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.octets(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.octets(&value.to_be_bytes());
    }

    fn varint(&mut self, value: u64) {
        let (octets, len) = varint::encode(value);
        self.octets(&octets[..len]);
    }

    fn count(&mut self, value: usize) {
        self.varint(value as u64);
    }

    /// A length as a varint, then the octets.
    fn prefixed(&mut self, octets: &[u8]) {
        self.count(octets.len());
        self.octets(octets);
    }

    /// The address alone, without its version.
    fn ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.octets(&address.octets()),
            IpAddr::V6(address) => self.octets(&address.octets()),
        }
    }

    /// A version octet, then the address.
    fn address(&mut self, address: IpAddr) {
        self.u8(if address.is_ipv4() { 4 } else { 6 });
        self.ip(address);
    }
}

impl Sink for Vec<u8> {
    fn octets(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }
}

/// Counts octets.
#[derive(Default)]
pub(crate) struct Counter(pub(crate) usize);

impl Sink for Counter {
    fn octets(&mut self, octets: &[u8]) {
        self.0 += octets.len();
    }
}

/// Takes fields off the front of a capsule's value.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The octets that are left, all of them.
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    pub(crate) fn finish(&self) -> Result<(), Problem> {
        if self.rest.is_empty() { Ok(()) } else { Err(Problem::Trailing) }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Problem> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Problem::Short)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Problem::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Problem> {
        self.array::<1>().map(|[octet]| octet)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Problem> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Problem> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Problem> {
        self.array().map(u64::from_be_bytes)
    }

    /// An octet that is 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, Problem> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Problem::Value),
        }
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Problem> {
        let (value, len) = varint::decode(self.rest).ok_or(Problem::Short)?;
        self.rest = &self.rest[len..];
        Ok(value)
    }

    /// A length as a varint, then as many octets.
    pub(crate) fn prefixed(&mut self) -> Result<&'a [u8], Problem> {
        let len = usize::try_from(self.varint()?).map_err(|_| Problem::Short)?;
        self.take(len)
    }

    /// As [`Reader::prefixed`], UTF-8.
    pub(crate) fn text(&mut self) -> Result<&'a str, Problem> {
        core::str::from_utf8(self.prefixed()?).map_err(|_| Problem::Text)
    }

    pub(crate) fn ipv4(&mut self) -> Result<IpAddr, Problem> {
        self.array::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
    }

    pub(crate) fn ipv6(&mut self) -> Result<IpAddr, Problem> {
        self.array::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
    }

    /// True for an IP version octet 6, false for 4.
    pub(crate) fn version_is_6(&mut self) -> Result<bool, Problem> {
        match self.u8()? {
            4 => Ok(false),
            6 => Ok(true),
            _ => Err(Problem::IpVersion),
        }
    }

    pub(crate) fn ip(&mut self, ipv6: bool) -> Result<IpAddr, Problem> {
        if ipv6 { self.ipv6() } else { self.ipv4() }
    }

    /// A version octet, then the address.
    pub(crate) fn address(&mut self) -> Result<IpAddr, Problem> {
        let ipv6 = self.version_is_6()?;
        self.ip(ipv6)
    }

    /// Entries up to the end of the value.
    pub(crate) fn list<T>(
        &mut self,
        mut entry: impl FnMut(&mut Self) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        let mut entries = Vec::new();
        while !self.is_empty() {
            entries.push(entry(self)?);
        }
        Ok(entries)
    }
}
