//! The way of a packet in.
//!
//! 1. parse, and drop what is malformed, a fragment, not for us, or not what its offload header says
//! 2. TCP: its connection by the 5-tuple, else one in TIME-WAIT, else a listener (a SYN makes a socket), else, where the host
//!    stands in for others, a request (`requests.rs`), else a RST
//! 3. UDP: its socket, else port unreachable
//! 4. ICMP: answer echo requests, match replies, tell the socket that a report is about

use std::net::SocketAddr;

use etherparse::TcpHeaderSlice;
use webtun_wire::{Instant, OFFLOAD_HEADER_LEN, OffloadChecksum, OffloadHeader, Segmentation};

use super::Host;
use crate::demux::Flow;
use crate::engine::Core;
use crate::outbound::Outbound;
use crate::packet::{self, IpPacket};
use crate::socket::icmp::{self, Message};
use crate::socket::tcp::{Owner, listen, new_socket};
use crate::time_wait::Judgement;
use crate::{Datagram, SocketEvent, SocketId, TcpOptions, Unreachable};

/// A TCP packet for a connection.
pub(super) struct Segment<'a> {
    pub packet: &'a [u8],
    pub parsed: &'a IpPacket<'a>,
    pub header: TcpHeaderSlice<'a>,
    /// It stands for several.
    pub is_many: bool,
}

impl Host {
    /// Takes one whole IP packet from the link.
    pub fn handle_packet(&mut self, packet: &[u8], now: Instant) {
        self.stats.packets_received += 1;
        match self.parse(packet) {
            Some(parsed) => self.dispatch(packet, &parsed, None, now),
            None => self.stats.packets_dropped += 1,
        }
    }

    /// Takes the payload of a datagram in a context of kind OFFLOAD (wire specification, section 6): an offload header
    /// and a packet, which may stand for several and lack its checksum. Where the two do not go together the packet is
    /// dropped and counted.
    pub fn handle_offloaded(&mut self, payload: &[u8], now: Instant) {
        match OffloadHeader::decode(payload).ok().zip(payload.get(OFFLOAD_HEADER_LEN..)) {
            Some((header, packet)) => self.handle_offloaded_packet(&header, packet, now),
            None => {
                self.stats.packets_received += 1;
                self.stats.packets_dropped += 1;
            }
        }
    }

    /// As [`handle_offloaded`](Self::handle_offloaded), where the two lie apart.
    pub fn handle_offloaded_packet(&mut self, header: &OffloadHeader, packet: &[u8], now: Instant) {
        self.stats.packets_received += 1;
        let checked = self.parse(packet).and_then(|mut parsed| {
            header.check(&parsed.shape(packet.len())?, self.config.mtu).ok()?;
            parsed.verify = header.checksum == OffloadChecksum::Complete;
            Some((parsed, header.normalized(packet.len()).segmentation))
        });
        match checked {
            Some((parsed, segmentation)) => self.dispatch(packet, &parsed, segmentation, now),
            None => self.stats.packets_dropped += 1,
        }
    }

    fn parse<'a>(&self, packet: &'a [u8]) -> Option<IpPacket<'a>> {
        packet::parse(packet).filter(|parsed| {
            // Loopback addresses do not come from outside (RFC 1122 section 3.2.1.3).
            let outside = !parsed.source.is_loopback() && !parsed.destination.is_loopback();
            outside && packet::is_unicast(parsed.source) && self.is_for_us(parsed.destination)
        })
    }

    /// Takes a packet that we have sent to ourselves.
    pub(super) fn handle_loopback(&mut self, packet: &[u8], now: Instant) {
        if let Some(parsed) = packet::parse(packet) {
            self.dispatch(packet, &IpPacket { verify: false, ..parsed }, None, now);
        }
    }

    fn dispatch(&mut self, packet: &[u8], parsed: &IpPacket<'_>, segmentation: Option<Segmentation>, now: Instant) {
        match parsed.protocol {
            packet::TCP => self.receive_tcp(packet, parsed, segmentation.is_some(), now),
            packet::UDP => self.receive_udp(packet, parsed, segmentation, now),
            packet::ICMP if parsed.destination.is_ipv4() => self.receive_icmp(parsed, now),
            packet::ICMPV6 if parsed.destination.is_ipv6() => self.receive_icmp(parsed, now),
            _ => self.stats.packets_dropped += 1,
        }
    }

    fn receive_tcp(&mut self, packet: &[u8], parsed: &IpPacket<'_>, is_many: bool, now: Instant) {
        let header = TcpHeaderSlice::from_slice(parsed.payload).ok();
        let Some(header) = header.filter(|_| !parsed.verify || parsed.tcp_checksum_valid()) else {
            self.stats.packets_dropped += 1;
            return;
        };
        let flow = Flow {
            local: SocketAddr::new(parsed.destination, header.destination_port()),
            remote: SocketAddr::new(parsed.source, header.source_port()),
        };
        let opening = header.syn() && !header.ack() && !header.rst();
        let known = self.flows.get(&flow).copied();
        let reopens = opening && known.is_some_and(|id| self.tcp.get(&id).is_none_or(|socket| socket.in_time_wait()));
        match known {
            Some(id) if !reopens => self.receive_segment(id, Segment { packet, parsed, header, is_many }, now),
            _ => self.receive_unconnected(&flow, Segment { packet, parsed, header, is_many }, now),
        }
    }

    /// A segment of no open connection: of one in TIME-WAIT, or the first of a new one.
    fn receive_unconnected(&mut self, flow: &Flow, segment: Segment<'_>, now: Instant) {
        let Segment { packet, parsed, header, .. } = &segment;
        let opening = header.syn() && !header.ack() && !header.rst();
        let data = parsed.payload.len() - header.slice().len();
        match self.time_wait.receive(flow, header, data, now) {
            Judgement::Ignore => {}
            Judgement::Acknowledge(finished) => {
                if let Some(ack) = packet::build_ack(flow, finished) {
                    self.queue.push_reply(Outbound::Complete(ack));
                }
            }
            Judgement::Unknown => match self.listening.find(flow.local, flow.remote) {
                Some(listener) if opening => self.receive_syn(listener, *flow, &segment, now),
                _ if opening && self.stands_in() => self.request(*flow, &segment),
                _ => {
                    if header.rst() && self.stands_in() {
                        self.requests.withdraw(flow);
                    }
                    self.engine.ingress(packet, parsed, None, &mut self.queue, now);
                }
            },
        }
    }

    fn receive_segment(&mut self, id: SocketId, segment: Segment<'_>, now: Instant) {
        let Segment { packet, parsed, header, is_many } = segment;
        let Some(socket) = self.tcp.get_mut(&id) else { return };
        let data = parsed.payload.get(header.slice().len()..).unwrap_or_default();
        if let Some(core) = socket.core_mut() {
            if header.ack() && !header.rst() {
                core.heard(header.window_size());
                let is_pure = data.is_empty() && !header.syn() && !header.fin();
                if is_pure && core.is_short_of_fin(header.acknowledgment_number()) {
                    socket.heard(now);
                    return;
                }
            }
            if header.fin() {
                core.heard_fin(header.sequence_number().wrapping_add(data.len() as u32).wrapping_add(1));
            }
            core.expect_ack(is_many || header.fin());
        }
        let mut duplicates = 0;
        if let Some(core) = socket.core_mut().filter(|_| header.ack() && !header.syn() && !header.rst()) {
            let Some(count) = self.engine.acknowledge(parsed, &header, core, &mut self.queue, now) else {
                socket.heard(now);
                return;
            };
            duplicates = count;
        }
        let waiting = socket.readable();
        self.engine.ingress(packet, parsed, socket.core_mut(), &mut self.queue, now);
        if let Some(core) = socket.core_mut() {
            let is_exact = core.took(&header, data.len(), waiting);
            if !data.is_empty() {
                self.arrival.note(id, data, waiting, is_exact);
            }
            self.engine.repeat(duplicates, parsed, &header, core, &mut self.queue, now);
        }
        socket.heard(now);
        let change = socket.observe(header.rst(), now);
        let unwanted = socket.owner == Owner::Nobody && socket.readable() > 0;
        self.mark_dirty(id);
        if unwanted {
            // Data after close: nobody will read it, and the peer must know (RFC 1122 section 4.2.2.13).
            self.end_tcp(id, crate::CloseReason::Aborted, true, now);
        }
        self.settle(id, change);
    }

    /// A SYN for a listener: this is where its backlog is spent.
    fn receive_syn(&mut self, listener_id: SocketId, flow: Flow, segment: &Segment<'_>, now: Instant) {
        let room = self.has_room_for_socket();
        let Some(listener) = self.listeners.get_mut(&listener_id) else { return };
        if !listener.has_room() || !room {
            self.stats.syns_dropped += 1;
            return;
        }
        let options = TcpOptions { local: None, ..listener.options.tcp.clone() };
        let id = self.new_id();
        if self.open_by_syn(id, flow, Owner::Listener(listener_id), &options, segment, now)
            && let Some(listener) = self.listeners.get_mut(&listener_id)
        {
            listener.half_open += 1;
        }
    }

    /// Makes the socket of a SYN, which answers it; false where there is no memory, or the SYN is malformed.
    pub(super) fn open_by_syn(
        &mut self,
        id: SocketId,
        flow: Flow,
        owner: Owner,
        options: &TcpOptions,
        segment: &Segment<'_>,
        now: Instant,
    ) -> bool {
        let Segment { packet, parsed, header, .. } = segment;
        let Some(mut buffers) = self.reserve_buffers(options, now) else {
            self.stats.syns_dropped += 1;
            return false;
        };
        let mut socket = new_socket(&mut buffers, options);
        if !listen(&mut socket, &flow) {
            return false;
        }
        let mut core = Core::new(socket, buffers);
        self.engine.ingress(packet, parsed, Some(&mut core), &mut self.queue, now);
        core.took(header, 0, 0);
        if core.socket().is_listening() {
            // smoltcp did not take the SYN: it is malformed.
            self.stats.packets_dropped += 1;
            return false;
        }
        self.insert_tcp(id, core, flow, owner, options, now);
        self.mark_dirty(id);
        true
    }

    fn receive_udp(&mut self, packet: &[u8], parsed: &IpPacket<'_>, segmentation: Option<Segmentation>, now: Instant) {
        let Some((source_port, destination_port, payload)) = packet::parse_udp(parsed) else {
            self.stats.packets_dropped += 1;
            return;
        };
        let from = SocketAddr::new(parsed.source, source_port);
        let to = SocketAddr::new(parsed.destination, destination_port);
        let Some((id, socket)) =
            self.udp_bound.find(to, from).and_then(|id| self.udp.get_mut(&id).map(|socket| (id, socket)))
        else {
            if self.reports.allow(now)
                && let Some(reply) = icmp::unreachable(Unreachable::Port, packet, parsed)
            {
                self.queue.push_reply(Outbound::Complete(reply));
            }
            return;
        };
        let mut receive =
            |payload: &[u8]| match socket.receive(Datagram { from, to: to.ip(), payload: payload.to_vec() }) {
                Some(true) => self.events.push_back(SocketEvent::UdpReadable(id)),
                Some(false) => {}
                None => self.stats.datagrams_dropped += 1,
            };
        match segmentation {
            Some(it) => payload.chunks(usize::from(it.segment_size).max(1)).for_each(receive),
            None => receive(payload),
        }
    }

    fn receive_icmp(&mut self, parsed: &IpPacket<'_>, now: Instant) {
        match icmp::parse(parsed) {
            Some(Message::EchoRequest(echo, payload)) => {
                if let Some(reply) = icmp::echo_reply(parsed, echo, payload) {
                    self.queue.push_reply(Outbound::Complete(reply));
                }
            }
            Some(Message::EchoReply(echo, payload)) => self.receive_pong(parsed, echo, payload.len(), now),
            Some(Message::Error(report)) if report.local.ip() == parsed.destination => {
                self.report(&report, Some(parsed.source), now);
            }
            Some(_) => {}
            None => self.stats.packets_dropped += 1,
        }
    }
}
