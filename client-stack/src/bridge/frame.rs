use bytes::{BufMut, BytesMut};
use smoltcp::wire::{EthernetFrame, EthernetProtocol};

use super::{FrameDrop, MacAddress};

/// Octets of an Ethernet header; there is no frame check sequence here.
pub(super) const HEADER_LEN: usize = 14;

/// The TPIDs of IEEE 802.1Q, 802.1ad, and of what went before it.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EtherType {
    Arp,
    Ipv4,
    Ipv6,
}

/// A frame from a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub destination: MacAddress,
    pub source: MacAddress,
    pub ether_type: EtherType,
    pub payload: &'a [u8],
    /// All of it.
    pub octets: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes frames below Ethernet's 60 octets, as emulators do not pad them.
    pub fn parse(octets: &'a [u8], mtu: u16) -> Result<Self, FrameDrop> {
        let frame = EthernetFrame::new_checked(octets).map_err(|_| FrameDrop::Runt)?;
        let payload = frame.payload();
        if payload.len() > usize::from(mtu) {
            return Err(FrameDrop::Giant);
        }
        let ether_type = match frame.ethertype() {
            EthernetProtocol::Arp => EtherType::Arp,
            EthernetProtocol::Ipv4 => EtherType::Ipv4,
            EthernetProtocol::Ipv6 => EtherType::Ipv6,
            EthernetProtocol::Unknown(tag) if TAGS.contains(&tag) => return Err(FrameDrop::Vlan),
            EthernetProtocol::Unknown(_) => return Err(FrameDrop::EtherType),
        };
        let source = MacAddress(frame.src_addr().0);
        if source.is_multicast() || source.0 == [0; 6] {
            return Err(FrameDrop::SourceMac);
        }
        Ok(Self { destination: MacAddress(frame.dst_addr().0), source, ether_type, payload, octets })
    }
}

/// A frame around a payload.
pub(super) fn build(destination: MacAddress, source: MacAddress, ether_type: EtherType, payload: &[u8]) -> BytesMut {
    let number = match ether_type {
        EtherType::Arp => EthernetProtocol::Arp,
        EtherType::Ipv4 => EthernetProtocol::Ipv4,
        EtherType::Ipv6 => EthernetProtocol::Ipv6,
    };
    let mut frame = BytesMut::with_capacity(HEADER_LEN + payload.len());
    frame.put_slice(&destination.0);
    frame.put_slice(&source.0);
    frame.put_u16(number.into());
    frame.put_slice(payload);
    frame
}

/// A frame around an IP packet.
pub(super) fn build_ip(destination: MacAddress, source: MacAddress, packet: &[u8]) -> BytesMut {
    let is_ipv4 = packet.first().is_some_and(|first| first >> 4 == 4);
    build(destination, source, if is_ipv4 { EtherType::Ipv4 } else { EtherType::Ipv6 }, packet)
}
