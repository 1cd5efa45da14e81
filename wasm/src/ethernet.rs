//! An Ethernet segment for virtual machines in the page, each of whose network cards has a tunnel of its own.

use std::net::Ipv4Addr;

use bytes::{Bytes, BytesMut};
use wasm_bindgen::prelude::wasm_bindgen;
use webtun_stack::MapId;
use webtun_stack::bridge::{Bridge, BridgeConfig, LinkId, PortId, SegmentConfig};

use crate::arguments::{self, instant};
use crate::encode::Words;

/// Events that one call encodes at most, so that a flood of them cannot grow the batch without bound.
const EVENTS_PER_BATCH: usize = 1024;

/// Octets that may wait for one emulator, and for one tunnel: twice what a message of the tunnel can bring.
const QUEUE_OCTETS: usize = 2 << 20;

/// A [`Bridge`] for JavaScript.
///
/// Times, octets and results are as with the stack: octets go in through the buffer at [`input`](Self::input), and
/// [`pointer`](Self::pointer) tells where those lie that a call has counted, until the next call. Ports and links (the
/// tunnels) are named by numbers of 0 or more; -1 stands for none.
#[wasm_bindgen]
pub struct WasmEthernet {
    bridge: Bridge,
    input: Vec<u8>,
    words: Words,
    message: Bytes,
    frame: BytesMut,
    result: *const u8,
    close_reason: String,
}

fn number(id: Option<u32>) -> f64 {
    id.map_or(-1.0, f64::from)
}

#[wasm_bindgen]
impl WasmEthernet {
    /// An empty segment. `seed` is 32 octets from a cryptographic generator; `mtu` is that of the segment, 1,280 to
    /// 65,000, and the nearest of these else. With `container2wasm` the guest gets 192.168.127.3, as that program's images expect.
    ///
    /// # Errors
    /// In words, where the configuration contradicts itself.
    #[wasm_bindgen(constructor)]
    pub fn new(seed: &[u8], mtu: u16, container2wasm: bool) -> Result<Self, String> {
        let mut config = BridgeConfig::new(arguments::seed(seed));
        if container2wasm {
            config.segment =
                SegmentConfig { aliases: Vec::new(), ..SegmentConfig::container2wasm(Ipv4Addr::UNSPECIFIED) };
        }
        config.segment.queue_octets = QUEUE_OCTETS;
        config.segment.mtu = mtu.clamp(1280, 65_000);
        config.segment.path_mtu = config.segment.path_mtu.min(config.segment.mtu);
        let bridge = Bridge::new(config).map_err(|error| error.to_string())?;
        Ok(Self {
            bridge,
            input: Vec::new(),
            words: Words::default(),
            message: Bytes::new(),
            frame: BytesMut::new(),
            result: core::ptr::null(),
            close_reason: String::new(),
        })
    }

    /// Where the caller puts `length` octets before a call that takes them.
    pub fn input(&mut self, length: usize) -> *mut u8 {
        arguments::room(&mut self.input, length)
    }

    /// Where the result of the last call lies.
    pub fn pointer(&self) -> *const u8 {
        self.result
    }

    /// Adds an emulator's port; -1 where there is no room. A network card that comes back at a port of the same `owner`
    /// goes on with the session that it had.
    pub fn add_port(&mut self, owner: u32, now: f64) -> f64 {
        number(self.bridge.add_port(owner, instant(now)).ok().map(PortId::get))
    }

    /// Makes the page's own stack a host on the segment; its port, or -1 where there is no room.
    pub fn add_page(&mut self, owner: u32, now: f64) -> f64 {
        number(self.bridge.add_page(owner, instant(now)).ok().map(|host| host.port.get()))
    }

    /// One message of `length` octets that the page's stack sends, from the input buffer.
    pub fn handle_page_message(&mut self, port: u32, length: usize, now: f64) {
        let message = self.input.get(..length).unwrap_or_default();
        self.bridge.handle_page_message(PortId::from_u32(port), message, instant(now));
    }

    /// The next message for the page's stack: its length in octets, or 0 where there is none.
    pub fn poll_page_message(&mut self, port: u32) -> usize {
        self.message = self.bridge.poll_page_message(PortId::from_u32(port)).unwrap_or_default();
        self.result = self.message.as_ptr();
        self.message.len()
    }

    /// Octets that wait for the tunnels of a port's guests.
    pub fn waiting_packets(&self, port: u32) -> usize {
        self.bridge.waiting_packets(PortId::from_u32(port))
    }

    /// Removes a port; the sessions of its network cards wait for them.
    pub fn remove_port(&mut self, port: u32, now: f64) {
        self.bridge.remove_port(PortId::from_u32(port), instant(now));
    }

    /// One frame of `length` octets, without check sequence, from the input buffer.
    pub fn handle_frame(&mut self, port: u32, length: usize, now: f64) {
        let frame = self.input.get(..length).unwrap_or_default();
        self.bridge.handle_frame(PortId::from_u32(port), frame, instant(now));
    }

    /// A port for which frames wait that did not before, or -1.
    pub fn poll_port(&mut self) -> f64 {
        number(self.bridge.poll_port().map(PortId::get))
    }

    /// The next frame for a port: its length in octets, or 0 where there is none.
    pub fn poll_frame(&mut self, port: u32) -> usize {
        self.frame = self.bridge.poll_frame(PortId::from_u32(port)).unwrap_or_default();
        self.result = self.frame.as_ptr();
        self.frame.len()
    }

    /// Octets that wait for a link's port; 0 while its network card is away.
    pub fn waiting_frames_of(&self, link: u32) -> usize {
        let port = self.bridge.port_of(LinkId::from_u32(link));
        port.map_or(0, |it| self.bridge.segment().waiting_frames(it))
    }

    /// A link that may have something to send and had nothing before, or -1.
    pub fn poll_link(&mut self) -> f64 {
        number(self.bridge.poll_link().map(LinkId::get))
    }

    /// The next message for a link's transport: its length in octets, or 0 where there is none.
    pub fn poll_transmit(&mut self, link: u32, now: f64) -> usize {
        self.message = self.bridge.poll_transmit(LinkId::from_u32(link), instant(now)).unwrap_or_default();
        self.result = self.message.as_ptr();
        self.message.len()
    }

    /// The transport of a link is open.
    pub fn handle_connected(&mut self, link: u32, now: f64) {
        self.bridge.handle_connected(LinkId::from_u32(link), instant(now));
    }

    /// The transport of a link is gone, or could not be opened.
    pub fn handle_disconnected(&mut self, link: u32, now: f64) {
        self.bridge.handle_disconnected(LinkId::from_u32(link), instant(now));
    }

    /// One binary message of `length` octets, from the input buffer.
    pub fn handle_message(&mut self, link: u32, length: usize, now: f64) {
        let message = self.input.get(..length).unwrap_or_default();
        self.bridge.handle_message(LinkId::from_u32(link), message, instant(now));
    }

    /// The browser says that the network is back: the rest of the back-off is skipped.
    pub fn reconnect_now(&mut self, now: f64) {
        self.bridge.reconnect_now(instant(now));
    }

    /// Ends all sessions. Final.
    pub fn close(&mut self, now: f64) {
        self.bridge.close(instant(now));
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, in milliseconds of the caller's clock; infinity for never.
    pub fn poll_timeout(&self) -> f64 {
        self.bridge.poll_timeout().map_or(f64::INFINITY, |at| at.as_micros() as f64 / 1000.0)
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) gave has come.
    pub fn handle_timeout(&mut self, now: f64) {
        self.bridge.handle_timeout(instant(now));
    }

    /// What has happened, as words of the `encode` module: their number, 0 for nothing.
    pub fn poll_events(&mut self, now: f64) -> usize {
        let now = instant(now);
        self.words.0.clear();
        for _ in 0..EVENTS_PER_BATCH {
            let Some(event) = self.bridge.poll_event() else { break };
            if let Some(reason) = self.words.push_bridge_event(event, now) {
                self.close_reason = reason;
            }
        }
        self.publish_words()
    }

    /// The gateway's words at the end of the last session that has ended.
    pub fn close_reason(&self) -> String {
        self.close_reason.clone()
    }

    /// What is known of a link, as words: owner of its port, its port or -1, its network card's address in two words, its
    /// IPv4 address on the segment or 0, and what the gateway has assigned, if it has. 0 where there is no such link.
    pub fn link(&mut self, link: u32) -> usize {
        self.words.0.clear();
        if let Some(info) = self.bridge.link(LinkId::from_u32(link)) {
            let port = info.port.map_or(u32::MAX, PortId::get);
            self.words.0.extend([info.owner, port]);
            self.words.mac(info.mac);
            self.words.0.push(info.v4.map_or(0, |it| it.to_bits()));
            if let Some(lease) = info.lease {
                self.words.lease(&lease);
            }
        }
        self.publish_words()
    }

    /// Asks for an external port for a guest's server, and keeps it; -1 where there is no such link. Answered by events.
    /// `protocol` is 6 or 17, `lifetime` in seconds.
    #[expect(clippy::too_many_arguments, reason = "one crossing instead of an object that is taken apart by several")]
    pub fn map_port(
        &mut self,
        link: u32,
        protocol: u8,
        ipv6: bool,
        internal_port: u16,
        external_port: u16,
        lifetime: u32,
        now: f64,
    ) -> f64 {
        let request = arguments::port_map(protocol, ipv6, internal_port, external_port, lifetime);
        number(self.bridge.map_port(LinkId::from_u32(link), request, instant(now)).map(MapId::get))
    }

    /// Gives an external port back.
    pub fn unmap_port(&mut self, link: u32, map: u32, now: f64) {
        self.bridge.unmap_port(LinkId::from_u32(link), MapId::from_u32(map), instant(now));
    }

    /// Frames and packets that the segment has dropped, for whatever reason.
    pub fn dropped(&self) -> f64 {
        self.bridge.segment().stats().total_drops() as f64
    }
}

impl WasmEthernet {
    /// Makes the words the result of this call.
    fn publish_words(&mut self) -> usize {
        self.result = self.words.0.as_ptr().cast();
        self.words.0.len()
    }
}
