//! What a NAT with a policy has to do, written down without regard to speed: the oracle of the model test.
//!
//! The rules are those of RFC 4787, 5382, 5508, 6146 and 7857, of RFC 6887 for mapped ports, and of the gateway's own
//! policy. Everything lies in one list and is searched from its beginning; what has expired is removed before anything
//! else is asked. Which free port a mapping gets is the gateway's choice: the reference takes note of it, and checks
//! that it was free and the session's own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use webtun_gateway::dataplane::{Allowance, DropReason, Filtering, NatConfig};
use webtun_wire::Instant;

use crate::packet::Segment;

/// What has ports of its own. The identifier of an ICMP echo is its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP echo, of either family.
    Icmp,
}

/// The reference NAT. Sessions are named by their place in the test's list.
#[derive(Clone, Debug)]
pub struct Reference {
    config: NatConfig,
    limits: Allowance,
    /// All that live.
    pub mappings: Vec<Mapping>,
}

/// One internal endpoint and its external one.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Whose it is.
    pub session: usize,
    /// Of which protocol.
    pub protocol: Protocol,
    /// Inside.
    pub internal: SocketAddr,
    /// Outside, as packets at the egress carry it.
    pub external: SocketAddr,
    /// Until when it is mapped explicitly.
    pub mapped_until: Option<Instant>,
    flows: BTreeMap<SocketAddr, Flow>,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    expires: Instant,
    tcp: Tcp,
}

/// What both ends of a TCP connection have said so far; index 0 is inside, 1 outside.
#[derive(Clone, Copy, Debug, Default)]
struct Tcp {
    spoke: [bool; 2],
    finished: [bool; 2],
    reset: bool,
}

impl Reference {
    /// Without mappings.
    pub fn new(config: NatConfig, limits: Allowance) -> Self {
        Self { config, limits, mappings: Vec::new() }
    }

    /// Forgets what is over.
    pub fn expire(&mut self, now: Instant) {
        for mapping in &mut self.mappings {
            mapping.flows.retain(|_, flow| flow.expires > now);
            mapping.mapped_until = mapping.mapped_until.filter(|until| *until > now);
        }
        self.mappings.retain(|mapping| !mapping.flows.is_empty() || mapping.mapped_until.is_some());
    }

    /// Forgets a session.
    pub fn close(&mut self, session: usize) {
        self.mappings.retain(|mapping| mapping.session != session);
    }

    /// The mapping of an internal endpoint.
    pub fn by_internal(&self, protocol: Protocol, internal: SocketAddr) -> Option<usize> {
        self.mappings.iter().position(|m| m.protocol == protocol && m.internal == internal)
    }

    /// The mapping of an external endpoint.
    pub fn by_external(&self, protocol: Protocol, external: SocketAddr) -> Option<usize> {
        self.mappings.iter().position(|m| m.protocol == protocol && m.external == external)
    }

    /// How many explicitly mapped ports there are, of one session or of all.
    pub fn mapped_ports(&self, session: Option<usize>) -> usize {
        let of = self.mappings.iter().filter(|m| session.is_none_or(|session| m.session == session));
        of.filter(|mapping| mapping.mapped_until.is_some()).count()
    }

    /// Whether a packet from inside may be translated.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check_outbound(
        &self,
        session: usize,
        protocol: Protocol,
        internal: SocketAddr,
        remote: SocketAddr,
        flags: u8,
    ) -> Result<(), DropReason> {
        let mapping = self.by_internal(protocol, internal).map(|index| &self.mappings[index]);
        if mapping.is_none() {
            if protocol == Protocol::Tcp && flags & Segment::RST != 0 {
                return Err(DropReason::NoMapping);
            }
            if self.mappings.iter().filter(|m| m.session == session).count() >= self.limits.mappings {
                return Err(DropReason::MappingLimit);
            }
        }
        let is_known = mapping.is_some_and(|m| m.flows.contains_key(&self.key(protocol, remote)));
        self.check_flows(session, is_known, self.limits.flows)
    }

    /// A packet from inside was translated to `external`.
    ///
    /// # Panics
    ///
    /// Panics where that is not what a NAT may do.
    pub fn outbound(
        &mut self,
        session: usize,
        protocol: Protocol,
        endpoints: (SocketAddr, SocketAddr),
        external: SocketAddr,
        flags: u8,
        now: Instant,
    ) {
        let (internal, remote) = endpoints;
        let index = self.by_internal(protocol, internal).unwrap_or_else(|| {
            self.add(session, protocol, internal, external);
            self.mappings.len() - 1
        });
        assert_eq!(self.mappings[index].external, external, "mapping depends on the endpoint (RFC 4787 REQ-1)");
        self.touch(index, remote, 0, flags, now);
    }

    /// Which mapping admits a packet from outside.
    ///
    /// # Errors
    ///
    /// Why none does.
    pub fn check_inbound(
        &self,
        protocol: Protocol,
        external: SocketAddr,
        remote: SocketAddr,
    ) -> Result<usize, DropReason> {
        let index = self.by_external(protocol, external).ok_or(DropReason::NoMapping)?;
        self.check_filter(index, remote)?;
        let mapping = &self.mappings[index];
        let is_known = protocol != Protocol::Tcp || mapping.flows.contains_key(&remote);
        // What strangers begin may use up half, so that the session can always begin something itself.
        self.check_flows(mapping.session, is_known, self.limits.flows / 2)?;
        Ok(index)
    }

    /// Whether a mapping would hear `remote`.
    ///
    /// # Errors
    ///
    /// [`DropReason::Filtered`] where it would not.
    pub fn check_filter(&self, index: usize, remote: SocketAddr) -> Result<(), DropReason> {
        let mapping = &self.mappings[index];
        let admitted = mapping.mapped_until.is_some()
            || match self.config.filtering {
                Filtering::EndpointIndependent => true,
                Filtering::AddressDependent => mapping.flows.keys().any(|key| key.ip() == remote.ip()),
                Filtering::AddressAndPortDependent => mapping.flows.contains_key(&self.key(mapping.protocol, remote)),
            };
        if admitted { Ok(()) } else { Err(DropReason::Filtered) }
    }

    /// A packet from outside was translated. UDP and ICMP are not refreshed by it (RFC 4787 REQ-6).
    pub fn inbound(&mut self, index: usize, remote: SocketAddr, flags: u8, now: Instant) {
        if self.mappings[index].protocol == Protocol::Tcp {
            self.touch(index, remote, 1, flags, now);
        }
    }

    /// A session has a port mapped until `until`.
    ///
    /// # Panics
    ///
    /// Panics where the external endpoint is not one that it may have.
    pub fn map(
        &mut self,
        session: usize,
        protocol: Protocol,
        internal: SocketAddr,
        external: SocketAddr,
        until: Instant,
    ) {
        let index = self.by_internal(protocol, internal).unwrap_or_else(|| {
            self.add(session, protocol, internal, external);
            self.mappings.len() - 1
        });
        assert_eq!(self.mappings[index].external, external, "a mapped port keeps the mapping's external port");
        self.mappings[index].mapped_until = Some(until);
    }

    /// A session gives a mapped port back.
    pub fn unmap(&mut self, protocol: Protocol, internal: SocketAddr, now: Instant) {
        if let Some(index) = self.by_internal(protocol, internal) {
            self.mappings[index].mapped_until = None;
        }
        self.expire(now);
    }

    fn add(&mut self, session: usize, protocol: Protocol, internal: SocketAddr, external: SocketAddr) {
        let taken = self.by_external(protocol, external);
        assert_eq!(taken, None, "{external} of {protocol:?} is given twice: {:?}", self.mappings);
        let flows = BTreeMap::new();
        self.mappings.push(Mapping { session, protocol, internal, external, mapped_until: None, flows });
    }

    fn check_flows(&self, session: usize, is_known: bool, limit: usize) -> Result<(), DropReason> {
        let flows: usize = self.mappings.iter().filter(|m| m.session == session).map(|m| m.flows.len()).sum();
        if is_known || flows < limit { Ok(()) } else { Err(DropReason::FlowLimit) }
    }

    fn touch(&mut self, index: usize, remote: SocketAddr, side: usize, flags: u8, now: Instant) {
        let protocol = self.mappings[index].protocol;
        let key = self.key(protocol, remote);
        let timeouts = self.config.timeouts;
        let flow = self.mappings[index].flows.entry(key).or_insert(Flow { expires: now, tcp: Tcp::default() });
        flow.tcp.follow(side, flags);
        let lifetime: Duration = match protocol {
            Protocol::Udp => timeouts.udp,
            Protocol::Icmp => timeouts.icmp,
            Protocol::Tcp if flow.tcp.is_established() => timeouts.tcp_established,
            Protocol::Tcp => timeouts.tcp_transitory,
        };
        flow.expires = now + lifetime;
    }

    /// TCP follows connections; the others remember addresses, and ports where the filter asks for them.
    fn key(&self, protocol: Protocol, remote: SocketAddr) -> SocketAddr {
        let by_port = match protocol {
            Protocol::Tcp => true,
            Protocol::Udp => self.config.filtering == Filtering::AddressAndPortDependent,
            Protocol::Icmp => false,
        };
        SocketAddr::new(remote.ip(), if by_port { remote.port() } else { 0 })
    }
}

impl Tcp {
    fn follow(&mut self, side: usize, flags: u8) {
        let is_first = self.spoke == [false; 2];
        let is_over = self.finished == [true; 2];
        if is_first {
            self.spoke[side] = true;
        } else if flags & Segment::RST != 0 {
            self.reset = true;
        } else if (self.reset || is_over) && flags & Segment::SYN != 0 {
            *self = Self::default();
            self.spoke[side] = true;
        } else if self.reset {
            // RFC 7857 section 2.2: data after a RST shows that the connection is still there.
            *self = Self { spoke: [true; 2], finished: [false; 2], reset: false };
            self.finished[side] = flags & Segment::FIN != 0;
        } else if !is_over {
            self.spoke[side] = true;
            let both = self.spoke == [true; 2];
            self.finished[side] |= both && flags & Segment::FIN != 0;
        }
    }

    fn is_established(&self) -> bool {
        !self.reset && self.spoke == [true; 2] && self.finished != [true; 2]
    }
}

/// What the default policy says about a destination, by its first octets alone: the test uses few destinations.
pub fn destination_drop(destination: IpAddr, protocol: Protocol, port: u16) -> Option<DropReason> {
    match destination {
        IpAddr::V4(v4) => match v4.octets() {
            [0 | 127 | 224.., ..] | [169, 254, ..] => return Some(DropReason::Unroutable),
            [10, ..] | [192, 168, ..] | [100, 64..=127, ..] => return Some(DropReason::DestinationClass),
            _ => {}
        },
        IpAddr::V6(v6) => {
            if v6.is_multicast() || v6.is_loopback() || v6.is_unicast_link_local() {
                return Some(DropReason::Unroutable);
            }
            if v6.segments()[0] & 0xe000 != 0x2000 || v6.segments()[..2] == [0x2001, 0xdb8] {
                return Some(DropReason::DestinationClass);
            }
        }
    }
    (protocol == Protocol::Tcp && port == 25).then_some(DropReason::DeniedByRule)
}
