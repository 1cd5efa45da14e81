//! From a session to the outside. A packet passes, in this order:
//!
//! 1. parse            offsets are checked once and for all, and what an offload header says about them
//! 2. antispoof        the source is the session's own
//! 3. reassemble       from here on there are whole datagrams only, with ports
//! 4. local            to the gateway's inner host, or to another session of the same network: done
//! 5. NAT64            what is for an IPv4 host becomes IPv4, and is judged as such
//! 6. policy           may it go there, unless it answers the outside; an external address of our own is another session's (hairpin)
//! 7. hop limit        one off
//! 8. fit              MSS and segments clamped; what is too big for the path and may not be cut is refused
//! 9. NAT              the source becomes an external endpoint
//! 10. egress          cut to the path's MTU, or turned round into the downlink (hairpin)
//!
//! A packet that stands for many segments is one packet up to stage 10, where the device, or the receiver, cuts it.
//!
//! A stage that refuses a packet says why; [`Gateway::refuse`] counts it and tells the client where that is due.

use bytes::BytesMut;
use core::net::IpAddr;
use webtun_wire::{DenyReason, FlowDenied, Instant, OffloadHeader};

use super::icmp_error::{self, Problem};
use super::meter::{self, Meters};
use super::nat::{Contact, GROWTH, Nat64};
use super::offload::Offload;
use super::packet::tcp_flag::{ACK, SYN};
use super::packet::{Packet, Side, Transport};
use super::policy::Subject;
use super::shards::Turn;
use super::{Destination, DropReason, Gateway, SessionId, Split, Transmit, antispoof, fragment, mss};

/// Octets of fragments that wait in the uplinks of all sessions. Each session may have as many as are left of it (and no
/// more than its own limit), so that many greedy ones leave room for a modest one.
const UPLINK_FRAGMENTS: usize = 64 << 20;

/// What came through stage 3.
enum Admitted {
    /// The packet.
    AsItIs,
    /// The datagram that it was the last fragment of.
    Whole(Box<Packet>),
    /// Nothing: a fragment that waits for others.
    Waits,
}

/// Where a packet turned out to go.
enum Route {
    Local,
    Egress,
    /// To another session (or its own), as if from outside.
    Hairpin,
    /// The same, to a session of the shard of this number.
    HairpinTo(usize),
    /// To another session of the same network, as it is.
    Neighbour(SessionId),
    /// To the shard of this number, where there may be such a session.
    NeighbourOf(usize),
}

impl Gateway {
    /// A packet of a session. Whatever is wrong with it concerns it alone. Returns how many packets it is charged as.
    pub(super) fn uplink(&mut self, id: SessionId, mut packet: Packet, now: Instant) -> u64 {
        let price = meter::price(&packet);
        match self.admit_uplink(id, &packet, now) {
            Ok(Admitted::AsItIs) => self.forward(id, &mut packet, now),
            Ok(Admitted::Whole(mut whole)) => self.forward(id, &mut whole, now),
            Ok(Admitted::Waits) => {}
            Err(reason) => self.stats.count_drop(reason),
        }
        price
    }

    /// Stages 2 and 3.
    fn admit_uplink(&mut self, id: SessionId, packet: &Packet, now: Instant) -> Result<Admitted, DropReason> {
        let session = self.sessions.get_mut(&id).ok_or(DropReason::NoSession)?;
        antispoof::check(&packet.headers, &session.lease)?;
        let Some(fragment) = packet.headers.fragment else { return Ok(Admitted::AsItIs) };
        let before = session.reassembler.octets();
        let room = UPLINK_FRAGMENTS.saturating_sub(self.fragment_octets);
        let whole = session.reassembler.push(packet, fragment, room, now);
        self.fragment_octets = self.fragment_octets - before + session.reassembler.octets();
        let lost = session.reassembler.take_lost();
        self.stats.count_drops(DropReason::FragmentTimeout, lost);
        Ok(whole?.map_or(Admitted::Waits, |whole| Admitted::Whole(Box::new(whole))))
    }

    fn forward(&mut self, id: SessionId, packet: &mut Packet, now: Instant) {
        match self.route(id, packet, now) {
            Ok(Route::Local) => {
                self.stats.local.count(packet.octets.len());
                self.transmit(Destination::Local, packet);
            }
            Ok(Route::Egress) => self.egress(packet, now),
            Ok(Route::Hairpin) => {
                packet.detach();
                self.hairpin(packet, now);
            }
            Ok(Route::HairpinTo(shard)) => self.send_hairpin(shard, packet.take()),
            Ok(Route::Neighbour(to)) => {
                packet.detach();
                self.deliver_to_neighbour(to, packet, now);
            }
            Ok(Route::NeighbourOf(shard)) => self.send_to_neighbouring(id, shard, packet.take()),
            Err(reason) => self.refuse(id, packet, reason, now),
        }
    }

    /// Stages 4 to 9.
    fn route(&mut self, id: SessionId, packet: &mut Packet, now: Instant) -> Result<Route, DropReason> {
        let destination = packet.headers.destination;
        if destination == self.inner_host(destination) {
            return Ok(Route::Local);
        }
        if let Some(to) = self.neighbour(id, destination) {
            self.check_neighbour(self.subject(id, packet), packet)?;
            packet.decrement_hop_limit();
            return Ok(Route::Neighbour(to));
        }
        if let Some(shard) = self.neighbouring_shard(id, destination) {
            return Ok(Route::NeighbourOf(shard));
        }
        self.nat64(id, packet)?;
        let destination = packet.headers.destination;
        let hairpin = self.turn(packet);
        let subject = self.subject(id, packet);
        match hairpin {
            Some(_) => self.policy.check_hairpin(subject)?,
            None if self.is_external(destination) => return Err(DropReason::Unroutable),
            None if self.nat.answers(packet, now) => self.policy.check_answer(destination)?,
            None => self.policy.check(subject)?,
        }
        if packet.headers.hop_limit <= 1 {
            return Err(DropReason::HopLimit);
        }
        if hairpin.is_none() {
            packet.clamp_segments(self.path_mtus.towards(destination, self.config.path_mtu, now))?;
            self.check_size(packet)?;
        }
        let original = packet.headers.destination;
        if let Some(turn) = hairpin {
            packet.set_endpoint(Side::Destination, turn.address, port_or_id(packet));
        }
        if self.config.split == Split::Required && begins_connection(packet) && hairpin.is_none() {
            return Err(DropReason::DeniedByRule);
        }
        let translated = self.check_contact(id, packet, now).and_then(|()| self.nat.outbound(id, packet, now));
        if let Err(reason) = translated {
            if hairpin.is_some() {
                packet.set_endpoint(Side::Destination, original, port_or_id(packet));
            }
            return Err(reason);
        }
        packet.decrement_hop_limit();
        mss::clamp(packet, self.config.path_mtu);
        Ok(match hairpin {
            Some(Turn { shard: Some(shard), .. }) => Route::HairpinTo(shard),
            Some(Turn { shard: None, .. }) => Route::Hairpin,
            None => Route::Egress,
        })
    }

    /// Part of stage 8: flows that are begun, and octets to whoever does not answer, are limited, so that nobody is scanned
    /// or flooded from here.
    fn check_contact(&mut self, id: SessionId, packet: &Packet, now: Instant) -> Result<(), DropReason> {
        let contact = self.nat.contact(packet, now);
        if matches!(contact, Contact::None | Contact::Answered) {
            return Ok(());
        }
        if contact == Contact::New && !self.nat.has_room_for_flow(id) {
            return Err(DropReason::FlowLimit);
        }
        let session = self.sessions.get_mut(&id).ok_or(DropReason::NoSession)?;
        let peer = self.peers.get_mut(session.peer_index).ok_or(DropReason::NoSession)?;
        let mut meters = Meters { session: &mut session.meter, peer: &mut peer.meter };
        if contact == Contact::New {
            meters.take_flow(now)?;
        }
        meters.take_unanswered(packet.octets.len(), now)
    }

    /// What the policy judges a packet by.
    pub(super) fn subject(&self, id: SessionId, packet: &Packet) -> Subject<'_> {
        let port = match packet.headers.transport {
            Transport::Tcp { destination, .. } | Transport::Udp { destination, .. } => destination,
            _ => 0,
        };
        let group = self.sessions.get(&id).and_then(|session| session.peer.group.as_deref());
        Subject { destination: packet.headers.destination, protocol: packet.headers.protocol, port, group }
    }

    /// Stage 5.
    fn nat64(&self, id: SessionId, packet: &mut Packet) -> Result<(), DropReason> {
        let destination = packet.headers.destination;
        let Some(prefix) = self.config.pref64().filter(|prefix| prefix.contains(destination)) else { return Ok(()) };
        let IpAddr::V6(v6) = destination else { return Ok(()) };
        let v4 = prefix.extract(v6).ok_or(DropReason::Unroutable)?;
        if !prefix.may_represent(v4) {
            return Err(DropReason::DestinationClass);
        }
        self.translator(id).ok_or(DropReason::NoSession)?.to_ipv4(packet)
    }

    fn translator(&self, id: SessionId) -> Option<Nat64> {
        let lease = self.sessions.get(&id)?.lease;
        let (prefix, host) = (self.config.pref64()?, self.config.inner_host_v6());
        Some(Nat64 { prefix, inner: lease.v6, alias: lease.nat64, host })
    }

    /// The translator for a packet of the session's, or to it, that is IPv4 on the gateway's outer side alone.
    pub(super) fn translator_of(&self, id: SessionId, inner: IpAddr) -> Option<Nat64> {
        self.translator(id).filter(|translator| inner == translator.alias)
    }

    /// What is too big for the path is cut only where its source allows it (RFC 4787 REQ-13, RFC 8200 section 5).
    fn check_size(&self, packet: &Packet) -> Result<(), DropReason> {
        let fits = packet.longest() <= usize::from(self.config.path_mtu);
        if fits || packet.may_fragment { Ok(()) } else { Err(DropReason::TooBig) }
    }

    /// Stage 10, to the outside.
    fn egress(&mut self, packet: &mut Packet, now: Instant) {
        let id = self.next_datagram_ids(packet.segment_count());
        let mut mtu = self.config.path_mtu;
        if packet.may_fragment {
            mtu = self.path_mtus.towards(packet.headers.destination, mtu, now);
            if packet.headers.source.is_ipv4() {
                // Many sessions share an address, and so one space of identifications (RFC 6864 section 5.3.1).
                packet.set_ipv4_id(id as u16);
            }
        }
        if packet.longest() <= usize::from(mtu) {
            self.transmit_to_egress(packet);
            return;
        }
        // The datagrams of UDP, too, which are fragmented one by one.
        for (mut packet, id) in packet.take().into_plain().into_iter().zip(id..) {
            if packet.octets.len() <= usize::from(mtu) {
                self.transmit_to_egress(&mut packet);
                continue;
            }
            match fragment::split(&packet, usize::from(mtu), id) {
                Ok(pieces) => pieces.into_iter().for_each(|piece| self.transmit_octets(piece)),
                Err(reason) => self.stats.count_drop(reason),
            }
        }
    }

    fn transmit_to_egress(&mut self, packet: &mut Packet) {
        self.stats.egress.count(packet.octets.len());
        self.transmit(Destination::Egress, packet);
    }

    /// A packet to the outside with nothing left to be done to it.
    pub(super) fn transmit_octets(&mut self, packet: BytesMut) {
        self.stats.egress.count(packet.len());
        self.transmits.push_back(Transmit { to: Destination::Egress, packet, offload: OffloadHeader::default() });
    }

    fn transmit(&mut self, to: Destination, packet: &mut Packet) {
        if packet.offload == Offload::default() {
            let packet = core::mem::take(&mut packet.octets);
            self.transmits.push_back(Transmit { to, packet, offload: OffloadHeader::default() });
            return;
        }
        for packet in packet.take().into_transmits(to, self.config.egress_offload) {
            let offload = packet.offload_header();
            self.transmits.push_back(Transmit { to, packet: packet.octets, offload });
        }
    }

    /// Stage 10, turned round (RFC 4787 REQ-9: the other session sees the external source endpoint).
    pub(super) fn hairpin(&mut self, packet: &mut Packet, now: Instant) {
        let result = self.nat.inbound(packet, now).and_then(|to| {
            if let Some(announced) = self.nat.announced_of(packet.headers.source) {
                let (source, _) = packet.ports();
                packet.set_endpoint(Side::Source, announced, source);
            }
            self.deliver(to, packet, now)
        });
        if let Err(reason) = result {
            self.stats.count_drop(reason);
        }
    }

    /// A packet was dropped: it is counted, and the client hears of it where its program can make use of that.
    pub(super) fn refuse(&mut self, id: SessionId, packet: &Packet, reason: DropReason, now: Instant) {
        self.stats.count_drop(reason);
        let translator = self.translator_of(id, packet.headers.source);
        let as_sent = translator.and_then(|translator| translator.to_ipv6(packet).ok());
        let mtu = self.config.path_mtu.saturating_add(if as_sent.is_some() { GROWTH } else { 0 });
        let packet = as_sent.as_ref().unwrap_or(packet);
        let (problem, denial) = match reason {
            DropReason::DestinationClass
            | DropReason::DeniedByRule
            | DropReason::OwnAddress
            | DropReason::Unroutable => (Problem::Prohibited, Some(DenyReason::Policy)),
            // RFC 6888 REQ-11 B: what may go over does not abort a connection that is being tried.
            DropReason::NoPorts => (Problem::HostUnreachable, Some(DenyReason::Exhausted)),
            DropReason::MappingLimit | DropReason::FlowLimit | DropReason::NewFlowRate | DropReason::Unanswered => {
                (Problem::HostUnreachable, Some(DenyReason::Limit))
            }
            DropReason::NoExternalAddress => (Problem::NoRoute, None),
            DropReason::HopLimit => (Problem::HopLimit, None),
            DropReason::TooBig => (Problem::TooBig(mtu), None),
            _ => return,
        };
        let from = self.inner_host(packet.headers.source);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let is_flow = !matches!(packet.headers.transport, Transport::IcmpError { .. } | Transport::IcmpOther);
        if let Some(reason) = denial.filter(|_| is_flow) {
            let (source_port, destination_port) = packet.ports();
            let is_echo = matches!(packet.headers.transport, Transport::Echo { .. });
            let denied = FlowDenied {
                reason,
                protocol: packet.headers.protocol,
                source_port,
                destination: packet.headers.destination,
                destination_port: if is_echo { 0 } else { destination_port },
            };
            session.denials.tell(denied, &mut session.tunnel, now);
        }
        if !session.errors.take(now) {
            return;
        }
        if let Some(error) = icmp_error::build(&packet.octets, &packet.headers, from, problem) {
            self.stats.icmp_errors += 1;
            if let Err(reason) = self.enqueue_octets(id, error, OffloadHeader::default(), now) {
                self.stats.count_drop(reason);
            }
        }
    }
}

/// Whether this is the first packet of a TCP connection that a client makes.
fn begins_connection(packet: &Packet) -> bool {
    matches!(packet.headers.transport, Transport::Tcp { flags, .. } if flags & (SYN | ACK) == SYN)
}

fn port_or_id(packet: &Packet) -> u16 {
    packet.ports().1
}
