//! Packets, made and read by hand and without haste: every checksum is computed in full, every length is checked. The
//! code under test does all this in place and incrementally, so neither can hide the other's mistakes.

mod build;
mod fragment;
mod offload;
mod view;

pub use build::{
    IcmpError, Segment, echo, icmp, icmp_error, raw, tcp, tcp_with_mss, udp, with_hop_limit, with_source,
    without_udp_checksum,
};
pub use fragment::{Reassembler, fragment, piece};
pub use offload::Offloaded;
pub use view::{Piece, Transport, View};

use std::net::IpAddr;

/// IP protocol numbers, as IANA assigns them.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// The IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
}

/// The Internet checksum (RFC 1071) over all of `parts`, as if they were one; only the last may be odd.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 8200 section 8.1).
fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Vec<u8> {
    let mut out = [address_octets(source), address_octets(destination)].concat();
    out.extend_from_slice(&(len as u32).to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, protocol]);
    out
}

fn address_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn word(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}
