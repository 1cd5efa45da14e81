use std::net::{IpAddr, SocketAddr};

use super::{checksum, protocol, pseudo_header, word};

/// A packet that has been read and found correct in every length and checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Don't Fragment; always true for IPv6.
    pub dont_fragment: bool,
    /// The protocol above IP, behind a fragment header.
    pub protocol: u8,
    /// Its place, where it is a fragment.
    pub piece: Option<Piece>,
    /// What lies above IP.
    pub transport: Transport<'a>,
}

/// A place within a fragmented datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Identification.
    pub id: u32,
    /// In octets.
    pub offset: usize,
    /// More fragments follow.
    pub more: bool,
}

/// What lies above IP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport<'a> {
    /// TCP.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Control bits.
        flags: u8,
        /// The MSS option.
        mss: Option<u16>,
        /// Data.
        payload: &'a [u8],
    },
    /// UDP.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Data.
        payload: &'a [u8],
    },
    /// An echo request or reply.
    Echo {
        /// Identifier.
        id: u16,
        /// Sequence number.
        sequence: u16,
        /// A request, not a reply.
        request: bool,
        /// Data.
        payload: &'a [u8],
    },
    /// Another ICMP message.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The MTU that a packet-too-big names.
        mtu: u16,
        /// What an error quotes.
        quoted: &'a [u8],
    },
    /// A piece of a datagram, or another protocol.
    Octets(&'a [u8]),
}

impl<'a> View<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(packet: &'a [u8]) -> Result<Self, &'static str> {
        match packet.first().map(|octet| octet >> 4) {
            Some(4) => Self::parse_v4(packet),
            Some(6) => Self::parse_v6(packet),
            Some(_) | None => Err("IP version"),
        }
    }

    /// Source address and port; the echo identifier counts as one.
    pub fn source_endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.source, self.ports().0)
    }

    /// Destination address and port; the echo identifier counts as one.
    pub fn destination_endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.destination, self.ports().1)
    }

    fn ports(&self) -> (u16, u16) {
        match self.transport {
            Transport::Tcp { source, destination, .. } | Transport::Udp { source, destination, .. } => {
                (source, destination)
            }
            Transport::Echo { id, .. } => (id, id),
            Transport::Icmp { .. } | Transport::Octets(_) => (0, 0),
        }
    }

    fn parse_v4(packet: &'a [u8]) -> Result<Self, &'static str> {
        if packet.len() < 20 {
            return Err("IPv4 header");
        }
        let header_len = usize::from(packet[0] & 0x0f) * 4;
        if header_len < 20 || packet.len() < header_len || usize::from(word(packet, 2)) != packet.len() {
            return Err("IPv4 length");
        }
        if checksum(&[&packet[..header_len]]) != 0 {
            return Err("IPv4 checksum");
        }
        let flags = word(packet, 6);
        let piece = (flags & 0x3fff != 0).then(|| Piece {
            id: word(packet, 4).into(),
            offset: usize::from(flags & 0x1fff) * 8,
            more: flags & 0x2000 != 0,
        });
        let source = IpAddr::from([packet[12], packet[13], packet[14], packet[15]]);
        let destination = IpAddr::from([packet[16], packet[17], packet[18], packet[19]]);
        let view = Self {
            source,
            destination,
            hop_limit: packet[8],
            dont_fragment: flags & 0x4000 != 0,
            protocol: packet[9],
            piece,
            transport: Transport::Octets(&packet[header_len..]),
        };
        view.with_transport(&packet[header_len..])
    }

    fn parse_v6(packet: &'a [u8]) -> Result<Self, &'static str> {
        if packet.len() < 40 || usize::from(word(packet, 4)) + 40 != packet.len() {
            return Err("IPv6 length");
        }
        let (mut protocol, mut payload, mut piece) = (packet[6], &packet[40..], None);
        if protocol == protocol::FRAGMENT {
            if payload.len() < 8 {
                return Err("IPv6 fragment header");
            }
            let place = word(payload, 2);
            let id = u32::from(word(payload, 4)) << 16 | u32::from(word(payload, 6));
            piece = Some(Piece { id, offset: usize::from(place & 0xfff8), more: place & 1 != 0 });
            (protocol, payload) = (payload[0], &payload[8..]);
        }
        let address = |at: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&packet[at..at + 16]);
            IpAddr::from(octets)
        };
        let view = Self {
            source: address(8),
            destination: address(24),
            hop_limit: packet[7],
            dont_fragment: true,
            protocol,
            piece,
            transport: Transport::Octets(payload),
        };
        view.with_transport(payload)
    }

    fn with_transport(mut self, payload: &'a [u8]) -> Result<Self, &'static str> {
        if self.piece.is_some() {
            return Ok(self);
        }
        self.transport = match self.protocol {
            protocol::TCP => self.tcp(payload)?,
            protocol::UDP => self.udp(payload)?,
            protocol::ICMP | protocol::ICMPV6 => self.icmp(payload)?,
            _ => Transport::Octets(payload),
        };
        Ok(self)
    }

    fn tcp(&self, segment: &'a [u8]) -> Result<Transport<'a>, &'static str> {
        let header_len = segment.get(12).map_or(0, |octet| usize::from(octet >> 4) * 4);
        if header_len < 20 || segment.len() < header_len {
            return Err("TCP header");
        }
        self.check(segment, "TCP checksum")?;
        Ok(Transport::Tcp {
            source: word(segment, 0),
            destination: word(segment, 2),
            flags: segment[13],
            mss: mss_option(&segment[20..header_len]),
            payload: &segment[header_len..],
        })
    }

    fn udp(&self, segment: &'a [u8]) -> Result<Transport<'a>, &'static str> {
        if segment.len() < 8 || usize::from(word(segment, 4)) != segment.len() {
            return Err("UDP length");
        }
        if word(segment, 6) != 0 {
            self.check(segment, "UDP checksum")?;
        } else if self.source.is_ipv6() {
            return Err("UDP over IPv6 without checksum");
        }
        Ok(Transport::Udp { source: word(segment, 0), destination: word(segment, 2), payload: &segment[8..] })
    }

    fn icmp(&self, message: &'a [u8]) -> Result<Transport<'a>, &'static str> {
        if message.len() < 8 {
            return Err("ICMP header");
        }
        self.check(message, "ICMP checksum")?;
        let (kind, code) = (message[0], message[1]);
        let (request, reply) = if self.protocol == protocol::ICMP { (8, 0) } else { (128, 129) };
        if kind == request || kind == reply {
            let (id, sequence) = (word(message, 4), word(message, 6));
            return Ok(Transport::Echo { id, sequence, request: kind == request, payload: &message[8..] });
        }
        Ok(Transport::Icmp { kind, code, mtu: word(message, 6), quoted: &message[8..] })
    }

    fn check(&self, message: &[u8], problem: &'static str) -> Result<(), &'static str> {
        let pseudo = match self.protocol {
            protocol::ICMP => Vec::new(),
            _ => pseudo_header(self.source, self.destination, self.protocol, message.len()),
        };
        if checksum(&[&pseudo, message]) == 0 { Ok(()) } else { Err(problem) }
    }
}

fn mss_option(mut options: &[u8]) -> Option<u16> {
    while let Some((kind, rest)) = options.split_first() {
        match kind {
            0 => return None,
            1 => options = rest,
            2 if rest.len() >= 3 => return Some(word(rest, 1)),
            _ => options = options.get(usize::from(*rest.first()?).max(2)..)?,
        }
    }
    None
}
