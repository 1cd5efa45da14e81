use crate::capsule::Prefix;
use crate::error::Problem;
use crate::field::{Reader, Sink};
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::net::IpAddr;

/// The DNS configuration that the gateway assigns.
///
/// The draft can say more than this: servers with encrypted transports, other ports, or for some domains only. Such
/// servers are checked on reception and left out, since the tunnel's client speaks plain DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsAssign<'a> {
    /// Resolver addresses for plain DNS on port 53, in order of preference.
    pub servers: Vec<IpAddr>,
    /// Search domains, as text without the trailing dot.
    pub search: Vec<&'a str>,
}

/// SvcParamKeys (RFC 9460 section 14.3.2).
mod key {
    pub const MANDATORY: u16 = 0;
    pub const ALPN: u16 = 1;
    pub const NO_DEFAULT_ALPN: u16 = 2;
    pub const PORT: u16 = 3;
    pub const IPV4HINT: u16 = 4;
    pub const IPV6HINT: u16 = 6;
}

const DNS_PORT: u16 = 53;

impl<'a> DnsAssign<'a> {
    /// One DNS configuration, responsible for the root and so for every name; none where there is nothing to say.
    /// Each server is a Nameserver of its own, because only priorities keep the order of IPv4 and IPv6 servers.
    pub(super) fn encode(&self, out: &mut impl Sink) {
        if self.servers.is_empty() && self.search.is_empty() {
            return;
        }
        out.count(self.servers.len());
        for (index, server) in self.servers.iter().enumerate() {
            out.u16(u16::try_from(index + 1).unwrap_or(u16::MAX));
            out.count(usize::from(server.is_ipv4()));
            if server.is_ipv4() {
                out.ip(*server);
            }
            out.count(usize::from(server.is_ipv6()));
            if server.is_ipv6() {
                out.ip(*server);
            }
            out.prefixed(b"");
            out.prefixed(b"");
        }
        out.count(1);
        out.prefixed(b"");
        out.count(self.search.len());
        self.search.iter().for_each(|domain| out.prefixed(domain.as_bytes()));
    }

    pub(super) fn decode(value: &mut Reader<'a>) -> Result<Self, Problem> {
        let mut servers = Vec::new();
        let mut search = Vec::new();
        while !value.is_empty() {
            let first = servers.len();
            for _ in 0..value.varint()? {
                decode_nameserver(value, &mut servers)?;
            }
            let mut root = false;
            for _ in 0..value.varint()? {
                root |= domain(value)?.is_empty();
            }
            if !root {
                servers.truncate(first);
            }
            for _ in 0..value.varint()? {
                search.push(domain(value)?);
            }
        }
        Ok(Self { servers: by_priority(&servers), search })
    }
}

/// Of equal priorities the first comes first. The stable sort of slices is ten times as much code, which counts in a page.
fn by_priority(servers: &[(u16, IpAddr)]) -> Vec<IpAddr> {
    let order: BinaryHeap<_> = servers.iter().enumerate().map(|(index, (priority, _))| (*priority, index)).collect();
    order.into_sorted_vec().into_iter().map(|(_, index)| servers[index].1).collect()
}

/// A Domain, without the trailing dot that presentation format allows.
fn domain<'a>(value: &mut Reader<'a>) -> Result<&'a str, Problem> {
    Ok(value.text()?.trim_end_matches('.'))
}

/// Appends the addresses of a Nameserver with its priority, where plain DNS on port 53 reaches it.
fn decode_nameserver(value: &mut Reader<'_>, servers: &mut Vec<(u16, IpAddr)>) -> Result<(), Problem> {
    let priority = value.u16()?;
    if priority == 0 {
        return Err(Problem::Value);
    }
    let first = servers.len();
    for _ in 0..value.varint()? {
        servers.push((priority, value.ipv4()?));
    }
    for _ in 0..value.varint()? {
        servers.push((priority, value.ipv6()?));
    }
    let authenticated = !domain(value)?.is_empty();
    if !plain_dns(&mut Reader::new(value.prefixed()?), authenticated)? {
        servers.truncate(first);
    }
    Ok(())
}

/// Checks SvcParams (RFC 9460 section 2.2) and tells whether they leave plain DNS on its usual port.
fn plain_dns(params: &mut Reader<'_>, authenticated: bool) -> Result<bool, Problem> {
    let mut plain = true;
    let mut last = None;
    while !params.is_empty() {
        let param = params.u16()?;
        if last >= Some(param) {
            return Err(Problem::Range);
        }
        last = Some(param);
        let len = usize::from(params.u16()?);
        let mut content = Reader::new(params.take(len)?);
        match param {
            key::IPV4HINT | key::IPV6HINT => return Err(Problem::Value),
            key::ALPN | key::NO_DEFAULT_ALPN if !authenticated => return Err(Problem::Value),
            key::MANDATORY => plain &= content.list(Reader::u16)?.iter().all(|param| *param == key::PORT),
            key::NO_DEFAULT_ALPN => {
                content.finish()?;
                plain = false;
            }
            key::PORT => {
                plain &= content.u16()? == DNS_PORT;
                content.finish()?;
            }
            _ => {}
        }
    }
    Ok(plain)
}

/// A NAT64 prefix is its length and the first 96 bits of the prefix.
const PREF64_OCTETS: usize = 12;

/// An address that is not IPv6 has no encoding; its length becomes 0, which every receiver rejects.
pub(super) fn encode_pref64(prefixes: &[Prefix], out: &mut impl Sink) {
    for prefix in prefixes {
        match prefix.address {
            IpAddr::V6(address) => {
                out.u8(prefix.length);
                out.octets(&address.octets()[..PREF64_OCTETS]);
            }
            IpAddr::V4(_) => out.octets(&[0; 1 + PREF64_OCTETS]),
        }
    }
}

/// The lengths are those of RFC 6052 section 2.2.
pub(super) fn decode_pref64(value: &mut Reader<'_>) -> Result<Vec<Prefix>, Problem> {
    value.list(|value| {
        let length = value.u8()?;
        if !matches!(length, 32 | 40 | 48 | 56 | 64 | 96) {
            return Err(Problem::PrefixLength);
        }
        let mut octets = [0; 16];
        octets[..PREF64_OCTETS].copy_from_slice(value.take(PREF64_OCTETS)?);
        Ok(Prefix { address: IpAddr::from(octets), length })
    })
}
