//! The one loop.

use bytes::BytesMut;
use std::time::Duration;
use webtun_gateway::dataplane::Destination;
use webtun_wire::{Instant, OffloadHeader};

use super::{Client, World};
use crate::packet::View;
use crate::path::Verdict;
use crate::trace::Place;

/// How often something may happen at one instant before the world counts as stuck. A full message brings a few hundred
/// packets, and each of them an answer.
const MAX_STEPS_AT_ONCE: u32 = 200_000;

impl World {
    /// Goes on to the next thing to happen. False where nothing ever will.
    pub fn step(&mut self) -> bool {
        let Some(at) = self.next_instant() else { return false };
        self.clock.advance_to(at);
        let mut count = 0;
        while self.do_one_thing() {
            self.settle();
            count += 1;
            assert!(count < MAX_STEPS_AT_ONCE, "the world is stuck: {}", self.describe());
        }
        true
    }

    /// Runs until `condition` holds. False where it does not within `limit`.
    pub fn run_until(&mut self, limit: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let end = self.clock.after(limit);
        loop {
            if condition(self) {
                return true;
            }
            if self.next_instant().is_none_or(|at| at > end) {
                self.clock.advance_to(end);
                return condition(self);
            }
            self.step();
        }
    }

    /// Runs until `condition` holds.
    ///
    /// # Panics
    ///
    /// Panics where it does not within `limit`.
    pub fn expect(&mut self, what: &str, limit: Duration, condition: impl FnMut(&Self) -> bool) {
        let met = self.run_until(limit, condition);
        assert!(met, "seed {}: not within {limit:?}: {what}\n{}", self.config.seed, self.describe());
    }

    /// Runs for so long.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Lets everything happen that follows at this instant.
    ///
    /// # Panics
    ///
    /// Panics where there is no end to it.
    pub fn settle(&mut self) {
        for _ in 0..MAX_STEPS_AT_ONCE {
            let mut moved = self.drain_gateway();
            moved |= self.drain_inner();
            moved |= self.drain_kernel();
            moved |= self.drain_remotes();
            for index in 0..self.clients.len() {
                moved |= self.drain_client(index);
            }
            moved |= self.pump_sessions();
            if !moved {
                return;
            }
        }
        panic!("the world does not come to rest: {}", self.describe());
    }

    /// Gives the gateway a packet as if it came from outside now.
    pub fn inject(&mut self, packet: BytesMut) {
        self.ingress(packet);
        self.settle();
    }

    fn next_instant(&self) -> Option<Instant> {
        let links = [self.uplink.poll_timeout(), self.downlink.poll_timeout()];
        let machines = [self.gateway.poll_timeout(), self.inner.poll_timeout(), self.kernel.machine.poll_timeout()];
        let connections = self.connections.values().map(|connection| connection.poll_timeout());
        let clients = self.clients.iter().map(Client::poll_timeout);
        let remotes = self.remotes.iter().map(|remote| remote.poll_timeout());
        links.into_iter().chain(machines).chain(connections).chain(clients).chain(remotes).flatten().min()
    }

    /// One thing that is due.
    fn do_one_thing(&mut self) -> bool {
        let now = self.now();
        if let Some(packet) = self.uplink.poll(now) {
            self.carry_out(packet);
            return true;
        }
        if let Some(packet) = self.downlink.poll(now) {
            self.ingress(packet);
            return true;
        }
        self.deliver_messages() || self.run_timers()
    }

    fn run_timers(&mut self) -> bool {
        let now = self.now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut moved = false;
        if is_due(self.gateway.poll_timeout()) {
            self.gateway.handle_timeout(now);
            moved = true;
        }
        for machine in self.remotes.iter_mut().chain([&mut self.inner, &mut self.kernel.machine]) {
            if is_due(machine.poll_timeout()) {
                machine.handle_timeout(now);
                moved = true;
            }
        }
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if !is_due(client.poll_timeout()) {
                continue;
            }
            moved = true;
            if is_due(client.opening) {
                self.open_connection(index);
            } else {
                client.stack.handle_timeout(now);
                client.node.handle_timeout(&mut client.stack, now);
            }
        }
        moved
    }

    fn drain_gateway(&mut self) -> bool {
        let now = self.now();
        let mut moved = false;
        while let Some(transmit) = self.gateway.poll_transmit() {
            moved = true;
            match transmit.to {
                Destination::Egress => self.egress(transmit.packet),
                Destination::Local => self.inner.handle_packet(transmit.packet, now),
            }
        }
        while let Some(event) = self.gateway.poll_event() {
            moved = true;
            self.gateway_event(event);
        }
        moved
    }

    fn drain_inner(&mut self) -> bool {
        let now = self.now();
        let mut moved = false;
        self.inner.drain(now);
        while let Some(packet) = self.inner.poll_packet() {
            self.gateway.process_local(packet, now);
            moved = true;
        }
        moved
    }

    fn drain_remotes(&mut self) -> bool {
        let now = self.now();
        let mut moved = false;
        for index in 0..self.remotes.len() {
            while let Some(packet) = self.remotes[index].poll_packet() {
                moved = true;
                match self.path.carry(packet, false) {
                    Verdict::Deliver(packets) => {
                        packets.into_iter().for_each(|packet| self.downlink.send(packet, now));
                    }
                    Verdict::Answer(answer) => self.remotes[index].handle_packet(answer, now),
                    Verdict::Drop => {}
                }
            }
        }
        moved
    }

    /// From the gateway onto the first link.
    pub(super) fn egress(&mut self, packet: BytesMut) {
        let now = self.now();
        if let Err(problem) = View::parse(&packet) {
            panic!("seed {}: the gateway sends a packet with a bad {problem}: {packet:x?}", self.config.seed);
        }
        self.seen(true, &packet);
        self.uplink.send(packet, now);
    }

    /// Over the routers to a host.
    fn carry_out(&mut self, packet: BytesMut) {
        let now = self.now();
        match self.path.carry(packet, true) {
            Verdict::Deliver(packets) => packets.into_iter().for_each(|packet| self.arrive(packet, now)),
            Verdict::Answer(answer) => self.downlink.send(answer, now),
            Verdict::Drop => {}
        }
    }

    fn arrive(&mut self, packet: BytesMut, now: Instant) {
        let destination = View::parse(&packet).map(|view| view.destination);
        let mut remotes = self.remotes.iter_mut();
        match remotes.find(|remote| destination.is_ok_and(|address| remote.owns(address))) {
            Some(remote) => remote.handle_packet(packet, now),
            None => self.strays.push(packet),
        }
    }

    fn ingress(&mut self, packet: BytesMut) {
        let now = self.now();
        self.seen(false, &packet);
        if View::parse(&packet).is_ok_and(|view| self.kernel.machine.owns(view.destination)) {
            return self.kernel.machine.handle_packet(packet, now);
        }
        self.gateway.process_downlink(packet, &OffloadHeader::default(), now);
    }

    fn seen(&mut self, outbound: bool, packet: &BytesMut) {
        let now = self.now();
        self.trace.record(now, if outbound { Place::Egress } else { Place::Ingress }, packet);
        self.capture.record(now, packet);
        if let Some(tap) = &mut self.tap {
            tap.push((outbound, packet.clone()));
        }
    }

    /// What a person wants to know about a world that went wrong.
    fn describe(&self) -> String {
        use std::fmt::Write;
        let mut out = format!("now {} us; gateway {:?}", self.now().as_micros(), self.gateway.stats());
        let links = [self.uplink.poll_timeout(), self.downlink.poll_timeout()];
        let _ = write!(out, "\nlinks {links:?}, gateway timer {:?}", self.gateway.poll_timeout());
        for (index, client) in self.clients.iter().enumerate() {
            let _ = write!(
                out,
                "\nclient {index}: {:?}, timer {:?}, open flows {}, {:?}, {:?}",
                client.stack.status(),
                client.poll_timeout(),
                client.node.open_flows(),
                client.stack.host_stats(),
                client.stack.stats(),
            );
            let open = client.node.flows.values().filter(|flow| !flow.is_released());
            for flow in open.take(3) {
                let _ = write!(out, "\n  {flow:?}");
            }
        }
        let kernel = &self.kernel;
        let _ = write!(out, "\nsockets of streams: {}, {:?}", kernel.sockets(), kernel.machine.host.stats());
        for (index, remote) in self.remotes.iter().enumerate() {
            let (timer, open) = (remote.poll_timeout(), remote.node.open_flows());
            let _ = write!(out, "\nremote {index}: timer {timer:?}, open flows {open}, {:?}", remote.host.stats());
            let open = remote.node.flows.values().filter(|flow| !flow.is_released());
            for flow in open.take(3) {
                let _ = write!(out, "\n  {flow:?}");
            }
        }
        out
    }
}
