//! One IP packet: octets, and what its validated headers say.
//!
//! [`Packet::parse`] is the only door: every offset in [`Headers`] lies within the packet, so that later stages rewrite
//! without looking again. IPv6 extension headers are skipped.

mod glance;
mod options;
mod parse;
mod rewrite;

use bytes::{Buf, BytesMut};
use core::net::IpAddr;

pub(in crate::dataplane) use self::glance::Glance;
pub(in crate::dataplane) use self::rewrite::{update, update_udp};
use super::DropReason;
use super::checksum::Delta;
use super::nat::Guess;
use super::offload::Offload;

/// IP protocol numbers, as IANA assigns them.
pub(in crate::dataplane) mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const HOP_BY_HOP: u8 = 0;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// TCP control bits (RFC 9293 3.1).
pub(in crate::dataplane) mod tcp_flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const CWR: u8 = 0x80;
}

/// A packet with validated headers.
#[derive(Debug)]
pub(in crate::dataplane) struct Packet {
    pub octets: BytesMut,
    pub headers: Headers,
    /// Where the NAT probably knows it from.
    pub guess: Guess,
    /// Its source lets routers cut it: IPv4 by its flag; IPv6 never, but what was put together from fragments.
    pub may_fragment: bool,
    /// What is left to whoever sends it.
    pub offload: Offload,
}

/// What a packet's headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Headers {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// The protocol above IP, behind any extension header.
    pub protocol: u8,
    pub hop_limit: u8,
    /// Where the field lies that names the protocol; for an IPv6 fragment, the one that names the fragment header.
    pub next_header: usize,
    /// Where that protocol's header (or a fragment's piece of it) begins.
    pub payload: usize,
    pub fragment: Option<Fragment>,
    /// A fragment header of a datagram in one piece (RFC 6946).
    pub atomic: Option<Atomic>,
    pub transport: Transport,
}

/// Where a fragment header without meaning lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Atomic {
    /// The field that names it.
    pub named_at: usize,
    /// Its first octet, which names what follows.
    pub at: usize,
}

/// A packet's place in a fragmented datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Fragment {
    pub id: u32,
    /// In octets.
    pub offset: usize,
    pub more: bool,
}

/// What lies above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Transport {
    Tcp {
        source: u16,
        destination: u16,
        flags: u8,
    },
    Udp {
        source: u16,
        destination: u16,
    },
    Echo {
        id: u16,
        request: bool,
    },
    /// An ICMP error that quotes a packet.
    IcmpError {
        kind: u8,
        code: u8,
    },
    /// Some other ICMP message.
    IcmpOther,
    /// A protocol without ports that we know of.
    Other,
    /// A piece of a datagram; its ports are known once it is whole.
    Piece,
}

/// Which endpoint of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) enum Side {
    Source,
    Destination,
}

impl Packet {
    /// Takes a packet apart. It has to be exactly as long as its header says.
    pub(in crate::dataplane) fn parse(octets: BytesMut) -> Result<Self, DropReason> {
        let headers = Headers::parse(&octets)?;
        Ok(Self::from_parts(octets, headers))
    }

    /// A packet whose headers these are.
    pub(in crate::dataplane) fn from_parts(octets: BytesMut, headers: Headers) -> Self {
        let may_fragment = headers.source.is_ipv4() && octets[6] & 0x40 == 0;
        let mut packet = Self { octets, headers, may_fragment, offload: Offload::default(), guess: Guess::NONE };
        if let Some(atomic) = packet.headers.atomic.take() {
            packet.remove(atomic);
        }
        packet
    }

    /// Everything but the octets.
    pub(in crate::dataplane) fn like(&self) -> Self {
        Self { octets: BytesMut::new(), ..*self }
    }

    /// The packet; what is left is without octets.
    pub(in crate::dataplane) fn take(&mut self) -> Self {
        Self { octets: core::mem::take(&mut self.octets), ..*self }
    }

    /// Takes a fragment header out: a packet that is cut again would otherwise have two.
    fn remove(&mut self, Atomic { named_at, at }: Atomic) {
        const LEN: usize = 8;
        self.octets[named_at] = self.octets[at];
        let len = u16::from_be_bytes([self.octets[4], self.octets[5]]) - LEN as u16;
        self.octets[4..6].copy_from_slice(&len.to_be_bytes());
        self.octets.copy_within(..at, LEN);
        self.octets.advance(LEN);
        let headers = &mut self.headers;
        headers.payload -= LEN;
        headers.next_header = if headers.next_header == at { named_at } else { headers.next_header - LEN };
    }

    /// Rewrites one endpoint, with the checksums that cover it.
    pub(in crate::dataplane) fn set_endpoint(&mut self, side: Side, address: IpAddr, port: u16) {
        self.headers.rewrite(&mut self.octets, side, address, port);
    }

    /// Copies the packet out of what it is a slice of: all of its message would stay in memory for as long as the packet does.
    pub(in crate::dataplane) fn detach(&mut self) {
        self.octets = BytesMut::from(&self.octets[..]);
    }

    /// Takes one hop off. The caller has seen that the limit exceeds 1.
    pub(in crate::dataplane) fn decrement_hop_limit(&mut self) {
        let limit = self.headers.hop_limit.saturating_sub(1);
        self.headers.hop_limit = limit;
        if self.headers.source.is_ipv4() {
            let old = u16::from_be_bytes([self.octets[8], self.octets[9]]);
            self.octets[8] = limit;
            let mut delta = Delta::default();
            delta.word(old, u16::from_be_bytes([limit, self.octets[9]]));
            update(&mut self.octets, 10, delta);
        } else {
            self.octets[7] = limit;
        }
    }

    /// Writes another identification into an IPv4 header.
    pub(in crate::dataplane) fn set_ipv4_id(&mut self, id: u16) {
        let mut delta = Delta::default();
        delta.word(word(&self.octets, 4), id);
        self.octets[4..6].copy_from_slice(&id.to_be_bytes());
        update(&mut self.octets, 10, delta);
    }

    /// The ports (or the echo identifier, twice) of source and destination; zeros where there are none.
    pub(in crate::dataplane) fn ports(&self) -> (u16, u16) {
        self.headers.ports()
    }
}

impl Headers {
    /// The ports (or the echo identifier, twice) of source and destination; zeros where there are none.
    pub(in crate::dataplane) fn ports(&self) -> (u16, u16) {
        match self.transport {
            Transport::Tcp { source, destination, .. } | Transport::Udp { source, destination } => {
                (source, destination)
            }
            Transport::Echo { id, .. } => (id, id),
            _ => (0, 0),
        }
    }
}

fn word(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}
