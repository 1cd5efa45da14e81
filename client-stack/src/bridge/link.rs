//! The tunnel session of one network card: packets of the segment in messages, and back.

use bytes::{Bytes, BytesMut};
use webtun_wire::{BatchWriter, Capsule, Instant, OFFLOAD_HEADER_LEN, OffloadHeader, capsules};

use super::{GuestId, MacAddress, Segment, Uplink};
use crate::Lease;
use crate::portmap::PortMaps;
use crate::tunnel::{Incoming, Tunnel};

/// One network card's session.
pub(super) struct Link {
    pub tunnel: Tunnel,
    pub maps: PortMaps,
    pub owner: u32,
    pub mac: MacAddress,
    /// `None` while the network card is away.
    pub guest: Option<GuestId>,
    /// When the session of a network card that is away ends.
    pub ends_at: Option<Instant>,
    /// What did not fit the last message.
    waiting: Option<(BytesMut, OffloadHeader)>,
}

impl Link {
    pub fn new(tunnel: Tunnel, owner: u32, mac: MacAddress, guest: GuestId) -> Self {
        let maps = PortMaps::default();
        Self { tunnel, maps, owner, mac, guest: Some(guest), ends_at: None, waiting: None }
    }

    /// Whether nothing can come of it any more, and nothing is left to be said.
    pub fn is_finished(&self) -> bool {
        self.tunnel.is_closed() && self.tunnel.poll_timeout().is_none()
    }

    /// Takes a message apart. False where it is for nobody.
    pub fn handle_message(&mut self, message: &[u8], segment: &mut Segment, now: Instant) -> bool {
        if !self.tunnel.begin_message(message.len(), now) {
            return false;
        }
        for capsule in capsules(message) {
            let incoming = match capsule {
                Ok(capsule) => self.tunnel.handle_capsule(capsule, now),
                Err(error) => {
                    self.tunnel.handle_malformed(error, now);
                    break;
                }
            };
            match incoming {
                Incoming::Packet(packet) => self.deliver(packet, OffloadHeader::default(), segment, now),
                Incoming::Offloaded(payload) => {
                    if let (Ok(header), Some(packet)) =
                        (OffloadHeader::decode(payload), payload.get(OFFLOAD_HEADER_LEN..))
                    {
                        self.deliver(packet, header, segment, now);
                    }
                }
                Incoming::PortMap(response) => self.maps.handle_response(&response, now),
                Incoming::Done => self.refresh(segment, now),
                // The guest's system understands the ICMP error that comes with a denied flow.
                Incoming::FlowDenied(_) | Incoming::Stream(_) => {}
                Incoming::Skip => break,
            }
        }
        self.tunnel.end_message(now);
        true
    }

    fn deliver(&self, packet: &[u8], header: OffloadHeader, segment: &mut Segment, now: Instant) {
        match self.guest {
            Some(guest) => segment.handle_packet(guest, BytesMut::from(packet), header),
            None => segment.look_for(self.mac, now),
        }
    }

    /// The next message for the gateway.
    pub fn poll_transmit(&mut self, segment: &mut Segment, now: Instant) -> Option<Bytes> {
        if let Some(message) = self.tunnel.poll_control(now) {
            return Some(message);
        }
        let Some((mut batch, wanted)) = self.tunnel.begin_batch() else { return self.tunnel.poll_ack(now) };
        while let Some(request) = self.maps.poll_request() {
            if !batch.push(&Capsule::PortMapRequest(request)) {
                self.maps.put_back(request);
                break;
            }
        }
        let context = self.tunnel.offload_context();
        while batch.len() < wanted
            && let Some((packet, header)) = self.next_packet(segment)
        {
            // What does not fit an empty message never will.
            if !push(&mut batch, context, &packet, &header) && !batch.is_empty() {
                self.waiting = Some((packet, header));
                break;
            }
        }
        self.tunnel.commit(batch, now)
    }

    /// What waits is of a session that is gone.
    pub fn session_lost(&mut self) {
        self.waiting = None;
        self.maps.session_lost();
    }

    fn next_packet(&mut self, segment: &mut Segment) -> Option<(BytesMut, OffloadHeader)> {
        self.waiting.take().or_else(|| segment.poll_packet(self.guest?))
    }

    /// Tells the segment what the session has.
    pub fn refresh(&self, segment: &mut Segment, now: Instant) {
        let Some(guest) = self.guest else { return };
        let uplink = self.tunnel.lease().map(|lease| uplink(lease, self.tunnel.offload_context().is_some()));
        if segment.guest(guest).is_some_and(|it| it.uplink != uplink) {
            segment.set_uplink(guest, uplink, now);
        }
    }
}

fn push(batch: &mut BatchWriter, context: Option<u64>, packet: &[u8], header: &OffloadHeader) -> bool {
    match context {
        _ if *header == OffloadHeader::default() => batch.push_packet(0, packet),
        Some(context) => batch.push_offload(context, header, packet),
        // The gateway has ended the context since the packet was made.
        None => true,
    }
}

/// What a lease is to the segment. The gateway's inner host is its first name server of each family.
fn uplink(lease: &Lease, offload: bool) -> Uplink {
    let addresses = || lease.addresses.iter().map(|(address, _)| *address);
    Uplink {
        v4: addresses().find_map(v4),
        v6: addresses().find_map(v6),
        host_v4: lease.dns.iter().copied().find_map(v4),
        host_v6: lease.dns.iter().copied().find_map(v6),
        offload,
    }
}

fn v4(address: std::net::IpAddr) -> Option<std::net::Ipv4Addr> {
    if let std::net::IpAddr::V4(it) = address { Some(it) } else { None }
}

fn v6(address: std::net::IpAddr) -> Option<std::net::Ipv6Addr> {
    if let std::net::IpAddr::V6(it) = address { Some(it) } else { None }
}
