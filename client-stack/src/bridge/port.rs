use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::BytesMut;
use webtun_wire::Instant;

use super::frame::HEADER_LEN;
use super::leases::Standing;
use super::outbox::Outbox;
use super::{FrameDrop, GuestId, MacAddress, PortError, PortId, Segment};

/// Where frames, or a host's packets, come and go.
#[derive(Debug)]
pub(super) struct Port {
    /// Whose it is.
    pub owner: u32,
    pub is_host: bool,
    pub outbox: Outbox<BytesMut>,
    bucket: Bucket,
}

/// A host on the segment that speaks IP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHost {
    /// Its port: give packets by [`Segment::handle_host_packet`], take them by [`Segment::poll_frame`].
    pub port: PortId,
    /// It is a guest like others.
    pub guest: GuestId,
    /// Its IPv4 address on the segment.
    pub v4: Ipv4Addr,
    /// Its IPv6 address on the segment.
    pub v6: Ipv6Addr,
}

/// The rate of what a port may have flooded.
#[derive(Debug)]
struct Bucket {
    /// In microseconds of time at the rate.
    credit: u64,
    filled: Instant,
}

const SECOND: u64 = 1_000_000;

impl Bucket {
    /// Whether a frame of `len` octets passes; each 1500 begun count as one.
    fn take(&mut self, len: usize, rate: u32, now: Instant) -> bool {
        let gained = u64::try_from((now - self.filled).as_micros()).unwrap_or(SECOND);
        self.credit = self.credit.saturating_add(gained).min(SECOND);
        self.filled = now;
        let cost = len.div_ceil(1500) as u64 * SECOND / u64::from(rate.max(1));
        let passes = cost <= self.credit;
        if passes {
            self.credit -= cost;
        }
        passes
    }
}

impl Segment {
    /// Adds an emulator's port. `owner` is a number that the caller gives: ports of one owner trust each other with
    /// their network cards and addresses.
    ///
    /// # Errors
    ///
    /// [`PortError::TooManyPorts`] at the configured bound.
    pub fn add_port(&mut self, owner: u32, now: Instant) -> Result<PortId, PortError> {
        let port = self.insert_port(owner, false, now)?;
        self.look_behind(port, owner);
        Ok(port)
    }

    /// The emulators' ports of an owner.
    pub(super) fn emulators_of(&self, owner: u32) -> impl Iterator<Item = PortId> {
        self.ports.iter().filter(move |(_, it)| it.owner == owner && !it.is_host).map(|(id, _)| *id)
    }

    fn insert_port(&mut self, owner: u32, is_host: bool, now: Instant) -> Result<PortId, PortError> {
        if self.ports.len() >= self.config.max_ports {
            return Err(PortError::TooManyPorts);
        }
        let id = PortId(self.next_port);
        self.next_port = self.next_port.wrapping_add(1);
        let bucket = Bucket { credit: SECOND, filled: now };
        self.ports.insert(id, Port { owner, is_host, outbox: Outbox::new(self.config.queue_octets), bucket });
        Ok(id)
    }

    /// Adds a host that speaks IP packets, such as a page's own stack. It is a guest like others, with a MAC address of
    /// its own and an address of the DHCP pool; the segment speaks ARP and NDP for it, and it may have a session.
    ///
    /// # Errors
    ///
    /// [`PortError`] where there is no room or no address.
    pub fn add_host(&mut self, owner: u32, now: Instant) -> Result<SegmentHost, PortError> {
        if self.guests.len() >= self.config.max_guests {
            return Err(PortError::TooManyGuests);
        }
        let mac = self.host_mac();
        let is_taken = |it| self.owners.contains_key(&IpAddr::V4(it));
        let standing = |it| if self.is_known(it) { Standing::Elsewhere } else { Standing::Gone };
        let v4 = self.leases.choose(mac, &[], None, now, is_taken, standing);
        let v4 = v4.ok_or(PortError::NoAddress)?;
        let v6 = mac.below(self.config.prefix_v6);
        let port = self.insert_port(owner, true, now)?;
        self.leases.commit(v4, mac, &[], now, Duration::MAX);
        let guest = self.insert_guest(port, mac, true, now);
        self.owners.insert(v4.into(), guest);
        self.owners.insert(v6.into(), guest);
        if let Some(it) = self.guests.get_mut(&guest) {
            it.v4 = Some(v4);
            it.v6 = vec![v6];
        }
        Ok(SegmentHost { port, guest, v4, v6 })
    }

    /// The owner of a port.
    pub(super) fn owner_of(&self, port: PortId) -> Option<u32> {
        self.ports.get(&port).map(|it| it.owner)
    }

    /// Locally administered, and beside the router's; free at this segment.
    fn host_mac(&self) -> MacAddress {
        let mut number = self.next_port;
        loop {
            let [_, a, b, c] = number.to_be_bytes();
            let mac = MacAddress([2, 0x77, 0x75, a, b, c]);
            if !self.is_known(mac) && mac != self.config.router_mac {
                return mac;
            }
            number = number.wrapping_add(1);
        }
    }

    /// Removes a port and its guests. Their leases stay until they expire, but a host's.
    pub fn remove_port(&mut self, port: PortId) {
        self.ports.remove(&port);
        self.ready_ports.remove(&port);
        let gone: Vec<GuestId> = self.guests.iter().filter(|(_, it)| it.port == port).map(|(id, _)| *id).collect();
        for id in gone {
            if let Some((mac, Some(v4), true)) = self.guests.get(&id).map(|it| (it.mac, it.v4, it.is_host)) {
                self.leases.remove(v4, mac);
            }
            self.forget_guest(id);
        }
    }

    /// Whether a broadcast or multicast of this length from the port may go to the others.
    pub(super) fn may_flood(&mut self, port: PortId, len: usize, now: Instant) -> Result<(), FrameDrop> {
        let rate = self.config.flood_rate;
        let passes = self.ports.get_mut(&port).is_some_and(|it| it.bucket.take(len, rate, now));
        if passes { Ok(()) } else { Err(FrameDrop::Storm) }
    }

    /// Queues a frame; a host gets the IP packet in it.
    pub(super) fn send(&mut self, port: PortId, mut frame: BytesMut) -> Result<(), FrameDrop> {
        let Some(it) = self.ports.get_mut(&port) else { return Err(FrameDrop::NoSuchPort) };
        if it.is_host {
            let _ = frame.split_to(HEADER_LEN.min(frame.len()));
        }
        let len = frame.len();
        if it.outbox.push(frame, len)? {
            self.ready_ports.insert(port);
        }
        self.stats.frames_sent += 1;
        Ok(())
    }
}
