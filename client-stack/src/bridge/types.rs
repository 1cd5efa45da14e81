use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One emulator's door to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub(super) u32);

impl PortId {
    /// As a number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// From the number that [`PortId::get`] gave.
    pub const fn from_u32(number: u32) -> Self {
        Self(number)
    }
}

/// One network card behind a port, from its first frame until it is gone. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestId(pub(super) u32);

/// An IEEE 802 MAC-48 address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Everybody on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether this is a group's address, the broadcast address included.
    pub const fn is_multicast(&self) -> bool {
        self.0[0] & 1 != 0
    }

    /// The modified EUI-64 interface identifier below a /64 prefix (RFC 4291 appendix A).
    pub(super) fn below(&self, prefix: Ipv6Addr) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        let mut octets = prefix.octets();
        octets[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        Ipv6Addr::from(octets)
    }

    /// Whose such an address is.
    pub(super) fn of_address(address: Ipv6Addr) -> Option<Self> {
        let [.., a, b, c, 0xff, 0xfe, d, e, f] = address.octets() else { return None };
        Some(Self([a ^ 2, b, c, d, e, f]))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The tunnel session of one guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uplink {
    /// The session's inner IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// The session's inner IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// The gateway's inner address, which the segment's router stands for.
    pub host_v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub host_v6: Option<Ipv6Addr>,
    /// Whether the session takes TCP segments for the other end to cut (an OFFLOAD context is open).
    pub offload: bool,
}

impl Uplink {
    pub(super) fn own(&self, is_ipv4: bool) -> Option<IpAddr> {
        if is_ipv4 { self.v4.map(IpAddr::V4) } else { self.v6.map(IpAddr::V6) }
    }

    pub(super) fn host(&self, is_ipv4: bool) -> Option<IpAddr> {
        if is_ipv4 { self.host_v4.map(IpAddr::V4) } else { self.host_v6.map(IpAddr::V6) }
    }
}

/// What the caller has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A network card has sent its first frame, or a host was added: it wants a tunnel session.
    GuestSeen {
        /// Its number.
        guest: GuestId,
        /// Where it is.
        port: PortId,
        /// Its address on the segment.
        mac: MacAddress,
    },
    /// A guest was silent too long, or its port was removed: its session may end.
    GuestGone {
        /// Its number.
        guest: GuestId,
        /// Its network card.
        mac: MacAddress,
        /// By which it answered; a host does not.
        address: Option<IpAddr>,
    },
    /// A guest has a DHCP lease, for the first time or renewed.
    LeaseGiven {
        /// Its number.
        guest: GuestId,
        /// What it may use.
        address: Ipv4Addr,
        /// The name that it has given itself (DHCP option 12), shortened to 63 octets and without control characters.
        host_name: Option<String>,
    },
}

/// Why a frame or a packet went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FrameDrop {
    /// Its port or guest is not there, or is of the other kind.
    NoSuchPort,
    /// Shorter than an Ethernet header.
    Runt,
    /// Longer than the segment's MTU and an Ethernet header.
    Giant,
    /// With an IEEE 802.1Q or 802.1ad tag.
    Vlan,
    /// Neither IPv4 nor IPv6 nor ARP.
    EtherType,
    /// From a group's address, from nobody or from the router.
    SourceMac,
    /// From a MAC address that is in use at another port.
    ForeignMac,
    /// From one network card too many.
    TooManyGuests,
    /// A malformed header, or one that contradicts its frame.
    Malformed,
    /// ARP or DHCP for another network card than the frame's.
    SpoofedHardware,
    /// From the router's address, or telling that the sender has it.
    SpoofedRouter,
    /// The same with the address of a guest at another port.
    SpoofedGuest,
    /// From an address outside of the segment.
    ForeignSource,
    /// A guest's DHCP answer, router advertisement or redirect.
    RogueServer,
    /// No port is known for its destination.
    UnknownDestination,
    /// A broadcast or multicast beyond the port's rate.
    Storm,
    /// An address that no router forwards to.
    NotRoutable,
    /// The guest has no session, or its session has no address of this family.
    NoUplink,
    /// From the tunnel, but not for the guest, or with a source on the segment.
    Misdelivered,
    /// An offload header that does not fit its packet.
    Offload,
    /// Too long for the guest, and not to be cut.
    TooLong,
    /// What waits for the port or the session has reached its bound.
    QueueFull,
    /// No DHCP address is left.
    PoolExhausted,
    /// A DHCP message that asks for nothing that can be answered.
    DhcpIgnored,
}

impl FrameDrop {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 24] = [
        Self::NoSuchPort,
        Self::Runt,
        Self::Giant,
        Self::Vlan,
        Self::EtherType,
        Self::SourceMac,
        Self::ForeignMac,
        Self::TooManyGuests,
        Self::Malformed,
        Self::SpoofedHardware,
        Self::SpoofedRouter,
        Self::SpoofedGuest,
        Self::ForeignSource,
        Self::RogueServer,
        Self::UnknownDestination,
        Self::Storm,
        Self::NotRoutable,
        Self::NoUplink,
        Self::Misdelivered,
        Self::Offload,
        Self::TooLong,
        Self::QueueFull,
        Self::PoolExhausted,
        Self::DhcpIgnored,
    ];
}

impl FrameDrop {
    /// A stable name in snake case.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoSuchPort => "no_such_port",
            Self::Runt => "runt",
            Self::Giant => "giant",
            Self::Vlan => "vlan",
            Self::EtherType => "ether_type",
            Self::SourceMac => "source_mac",
            Self::ForeignMac => "foreign_mac",
            Self::TooManyGuests => "too_many_guests",
            Self::Malformed => "malformed",
            Self::SpoofedHardware => "spoofed_hardware",
            Self::SpoofedRouter => "spoofed_router",
            Self::SpoofedGuest => "spoofed_guest",
            Self::ForeignSource => "foreign_source",
            Self::RogueServer => "rogue_server",
            Self::UnknownDestination => "unknown_destination",
            Self::Storm => "storm",
            Self::NotRoutable => "not_routable",
            Self::NoUplink => "no_uplink",
            Self::Misdelivered => "misdelivered",
            Self::Offload => "offload",
            Self::TooLong => "too_long",
            Self::QueueFull => "queue_full",
            Self::PoolExhausted => "pool_exhausted",
            Self::DhcpIgnored => "dhcp_ignored",
        }
    }
}

/// Counts since the segment was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentStats {
    /// Frames and packets that ports have handed in.
    pub frames_received: u64,
    /// Frames and packets that wait for a port or were taken by it.
    pub frames_sent: u64,
    /// Packets from tunnels.
    pub packets_received: u64,
    /// Packets that wait for a tunnel or were taken by it.
    pub packets_sent: u64,
    drops: [u64; FrameDrop::ALL.len()],
}

impl SegmentStats {
    /// How many frames and packets were dropped for this reason.
    pub const fn drops(&self, reason: FrameDrop) -> u64 {
        self.drops[reason as usize]
    }

    /// How many frames and packets were dropped.
    pub fn total_drops(&self) -> u64 {
        self.drops.iter().sum()
    }

    pub(super) const fn count(&mut self, reason: FrameDrop) {
        self.drops[reason as usize] += 1;
    }
}

/// Why a port was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The segment has as many ports as it may.
    #[error("the segment has no room for another port")]
    TooManyPorts,
    /// The segment has as many guests as it may.
    #[error("the segment has no room for another guest")]
    TooManyGuests,
    /// Every IPv4 address of the segment is in use.
    #[error("the segment has no address left")]
    NoAddress,
}
