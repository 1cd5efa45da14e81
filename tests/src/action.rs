//! What a hostile world does to a gateway, as a list of actions read from octets: the model test draws the octets from
//! a seed, the fuzzer makes them up.

use std::time::Duration;

/// Every action takes so many octets, so that a mutation of one leaves the others as they are.
pub const ACTION_LEN: usize = 8;

/// One thing that happens. Numbers choose among what there is at that moment, modulo its count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A peer opens a session.
    Open {
        /// Which peer.
        peer: u8,
    },
    /// A session sends a datagram from each of so many ports in a row.
    Burst {
        /// Which session.
        session: u8,
        /// Over IPv6.
        ipv6: bool,
        /// The first port, in tens.
        first: u8,
        /// How many.
        count: u8,
        /// Where to.
        remote: u8,
    },
    /// A session's connection is lost.
    Disconnect {
        /// Which session.
        session: u8,
    },
    /// A session comes back.
    Resume {
        /// Which session.
        session: u8,
    },
    /// The operator ends a session.
    Close {
        /// Which session.
        session: u8,
    },
    /// A session sends a packet.
    Uplink(Sent),
    /// A packet comes from outside.
    Downlink(Received),
    /// A packet comes from the inner host.
    Local {
        /// Which session it is for; beyond the last, nobody's address.
        session: u8,
        /// Over IPv6.
        ipv6: bool,
    },
    /// A router on the path complains about the last packet that left.
    Complain {
        /// Which error.
        error: u8,
    },
    /// A session asks for a port, renews or deletes it.
    MapPort(MapPort),
    /// Time passes.
    Wait(Duration),
    /// A session sends a message that is none.
    Garbage {
        /// Which session.
        session: u8,
        /// Its first octets; the rest repeats them.
        octets: [u8; 4],
    },
}

/// A packet of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Which session.
    pub session: u8,
    /// What it is.
    pub kind: Kind,
    /// Over IPv6.
    pub ipv6: bool,
    /// From whose address: its own, another session's, an external one.
    pub source: u8,
    /// From which port.
    pub port: u8,
    /// Where to.
    pub remote: u8,
    /// To which port.
    pub remote_port: u8,
    /// With a hop limit of 1.
    pub last_hop: bool,
}

/// A packet from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// What it is.
    pub kind: Kind,
    /// Over IPv6, where `target` names no mapping.
    pub ipv6: bool,
    /// To the external endpoint of which mapping; some numbers choose a port that has none.
    pub target: u8,
    /// Where from.
    pub remote: u8,
    /// From which port.
    pub remote_port: u8,
}

/// A request for an external port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapPort {
    /// Which session.
    pub session: u8,
    /// TCP, UDP or something else.
    pub kind: Kind,
    /// IPv6.
    pub ipv6: bool,
    /// The session's port.
    pub port: u8,
    /// The wanted port; see [`Received::target`].
    pub external: u8,
    /// In seconds.
    pub lifetime: u32,
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A UDP datagram.
    Udp,
    /// A TCP segment with these control bits.
    Tcp(u8),
    /// An echo request from inside, a reply from outside.
    Echo,
    /// An echo reply from inside, a request from outside.
    WrongEcho,
    /// A protocol without ports.
    Other,
}

impl Action {
    /// The action that these octets mean; every eight octets mean one.
    pub fn decode(octets: [u8; ACTION_LEN]) -> Self {
        let [kind, a, b, c, d, e, f, g] = octets;
        let ipv6 = g & 1 == 1;
        match kind % 32 {
            0 => Self::Open { peer: a },
            1 => Self::Burst { session: a, ipv6, first: b, count: c % 80, remote: d },
            2 => Self::Disconnect { session: a },
            3 => Self::Resume { session: a },
            4 if b < 64 => Self::Close { session: a },
            4 => Self::Garbage { session: a, octets: [c, d, e, f] },
            5 | 6 => {
                let lifetime = match f {
                    0..64 => 0,
                    64..240 => u32::from(f),
                    240.. => u32::MAX,
                };
                Self::MapPort(MapPort { session: a, kind: Kind::decode(b), ipv6, port: c, external: d, lifetime })
            }
            7 | 8 => Self::Wait(wait(a, b)),
            9 => Self::Complain { error: a },
            10 => Self::Local { session: a, ipv6 },
            11..=22 => Self::Uplink(Sent {
                session: a,
                kind: Kind::decode(b),
                ipv6,
                source: c,
                port: d,
                remote: e,
                remote_port: f,
                last_hop: g >= 248,
            }),
            _ => Self::Downlink(Received { kind: Kind::decode(b), ipv6, target: c, remote: e, remote_port: f }),
        }
    }

    /// All actions of an input; an incomplete one at the end is left out.
    pub fn decode_all(input: &[u8]) -> impl Iterator<Item = Self> {
        input.chunks_exact(ACTION_LEN).map(|octets| Self::decode(octets.try_into().unwrap_or_default()))
    }
}

impl Kind {
    fn decode(octet: u8) -> Self {
        match octet {
            0..90 => Self::Udp,
            90..190 => Self::Tcp([0x02, 0x12, 0x10, 0x11, 0x04, 0x14][usize::from(octet % 6)]),
            190..240 => Self::Echo,
            240..250 => Self::WrongEcho,
            250.. => Self::Other,
        }
    }
}

/// Mostly short, now and then just below, at or above a timer.
fn wait(scale: u8, fine: u8) -> Duration {
    let seconds = match scale {
        0..160 => return Duration::from_millis(u64::from(fine) * 4),
        160..200 => u64::from(fine) / 8,
        200..215 => 60,
        215..225 => 120,
        225..235 => 240,
        235..250 => 300,
        250..253 => 7440,
        253.. => 100_000,
    };
    Duration::from_secs(seconds) + Duration::from_millis(u64::from(fine % 3))
        - Duration::from_millis(1).min(Duration::from_secs(seconds))
}
