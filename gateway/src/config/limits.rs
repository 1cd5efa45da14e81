//! `[limits]` and `[[group]]`: what clients may use, in general and by the group of their peer.

use super::Filtering;
use crate::dataplane::{self, Allowance, Peer, PeerLimits, Rate};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A number, or `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LimitForm", into = "LimitForm")]
pub struct Limit(Option<u64>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum LimitForm {
    Number(u64),
    Text(String),
}

impl TryFrom<LimitForm> for Limit {
    type Error = String;

    fn try_from(form: LimitForm) -> Result<Self, String> {
        match form {
            LimitForm::Number(number) => Ok(Self(Some(number))),
            LimitForm::Text(text) if text == "unlimited" => Ok(Self(None)),
            LimitForm::Text(text) => text
                .parse()
                .map(|number| Self(Some(number)))
                .map_err(|_| format!("`{text}` is neither a number nor \"unlimited\"")),
        }
    }
}

impl From<Limit> for LimitForm {
    fn from(limit: Limit) -> Self {
        limit.0.map_or_else(|| Self::Text("unlimited".to_owned()), Self::Number)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(out),
            None => out.write_str("unlimited"),
        }
    }
}

/// How a limit stands in the dataplane.
trait Bound {
    fn limit(&self) -> Limit;
    /// `saved` is how many quarters of a second's worth of a rate can be saved up.
    fn set(&mut self, limit: Limit, saved: u64);

    /// As [`Bound::set`], where that makes it less.
    fn lower(&mut self, limit: Limit, saved: u64) {
        let unlimited = u64::MAX;
        if limit.0.unwrap_or(unlimited) < self.limit().0.unwrap_or(unlimited) {
            self.set(limit, saved);
        }
    }
}

impl Bound for usize {
    fn limit(&self) -> Limit {
        Limit((*self != Self::MAX).then_some(*self as u64))
    }

    fn set(&mut self, limit: Limit, _saved: u64) {
        *self = limit.0.map_or(Self::MAX, |number| Self::try_from(number).unwrap_or(Self::MAX));
    }
}

impl Bound for Rate {
    fn limit(&self) -> Limit {
        Limit((!self.is_unlimited()).then_some(self.per_second))
    }

    fn set(&mut self, limit: Limit, saved: u64) {
        *self = limit.0.map_or(Self::UNLIMITED, |per_second| Self {
            per_second,
            burst: u64::try_from(u128::from(per_second) * u128::from(saved) / 4).unwrap_or(u64::MAX),
        });
    }
}

/// The one list of keys, for the sections with defaults and for the changes that groups make to them.
macro_rules! allowance_keys {
    ($($(#[$doc:meta])* $key:ident => $field:ident, $saved:literal;)+) => {
        allowance_keys! {
            /// `[limits.session]`: what each session may use.
            SessionAllowance = Allowance::SESSION; $($(#[$doc])* $key => $field, $saved;)+
        }
        allowance_keys! {
            /// `[limits.peer]`: what all sessions of a peer may use together.
            PeerAllowance = Allowance::PEER; $($(#[$doc])* $key => $field, $saved;)+
        }

        /// What differs from an allowance: a key that is absent changes nothing.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct AllowanceChanges {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $key: Option<Limit>,)+
        }

        impl AllowanceChanges {
            fn apply(&self, allowance: &mut Allowance) {
                $(if let Some(limit) = self.$key {
                    allowance.$field.set(limit, $saved);
                })+
            }

            fn lower(&self, allowance: &mut Allowance) {
                $(if let Some(limit) = self.$key {
                    allowance.$field.lower(limit, $saved);
                })+
            }
        }
    };
    ($(#[$about:meta])* $name:ident = $default:expr; $($(#[$doc:meta])* $key:ident => $field:ident, $saved:literal;)+) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$doc])* pub $key: Limit,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default.$field.limit(),)+ }
            }
        }

        impl $name {
            fn allowance(&self) -> Allowance {
                let mut allowance = $default;
                $(if allowance.$field.limit() != self.$key {
                    allowance.$field.set(self.$key, $saved);
                })+
                allowance
            }
        }
    };
}

allowance_keys! {
    /// NAT mappings.
    mappings => mappings, 1;
    /// Remote endpoints that the mappings have spoken with.
    flows => flows, 1;
    /// External port blocks, per family.
    port_blocks => blocks, 1;
    /// Ports that clients have mapped explicitly.
    mapped_ports => mapped_ports, 1;
    /// Octets of packets that wait for their session's connection.
    queue_octets => queue_octets, 1;
    /// New flows per second; eight seconds' worth at once.
    new_flows_per_s => new_flows, 32;
    /// Packets per second from clients; a quarter of a second's worth at once.
    uplink_packets_per_s => uplink_packets, 1;
    /// Octets per second from clients; a quarter of a second's worth at once.
    uplink_octets_per_s => uplink_octets, 1;
    /// Packets per second to clients; a quarter of a second's worth at once.
    downlink_packets_per_s => downlink_packets, 1;
    /// Octets per second to clients; a quarter of a second's worth at once.
    downlink_octets_per_s => downlink_octets, 1;
    /// Octets per second to destinations that have never answered; sixteen seconds' worth at once.
    unanswered_octets_per_s => unanswered_octets, 64;
}

/// What differs from the limits of `[limits]`, in a group or by a credential.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitChanges {
    /// Sessions of one peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// What each session may use.
    pub session: AllowanceChanges,
    /// What all sessions of a peer may use together.
    pub peer: AllowanceChanges,
}

impl LimitChanges {
    /// The limits with these changes.
    #[must_use]
    pub fn apply(&self, mut limits: PeerLimits) -> PeerLimits {
        if let Some(sessions) = self.sessions {
            limits.sessions = sessions as usize;
        }
        self.session.apply(&mut limits.each);
        self.peer.apply(&mut limits.total);
        limits
    }

    /// The limits with those of these changes that make them smaller.
    #[must_use]
    pub fn lower(&self, mut limits: PeerLimits) -> PeerLimits {
        if let Some(sessions) = self.sessions {
            limits.sessions = limits.sessions.min(sessions as usize);
        }
        self.session.lower(&mut limits.each);
        self.peer.lower(&mut limits.total);
        limits
    }
}

/// `[[group]]`: peers that a rule of the policy can name, or that differ in what they may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// As tokens and rules name it.
    pub name: String,
    /// The network in which its sessions reach one another, and those of other groups with the same; none where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Which packets from outside their mappings admit; as in `[nat]` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtering: Option<Filtering>,
    /// What differs from `[limits]`.
    #[serde(default)]
    pub limits: LimitChanges,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// TCP connections to the listener, at once.
    pub connections: u32,
    /// Connections without a session, at once, whatever they do: TLS, HTTP, or a WebSocket without HELLO. At the bound the
    /// newcomer takes the place of the one that has been there longest, of the address that has most of them.
    pub handshakes: u32,
    /// The same from one IPv4 address or IPv6 prefix of 64 bits, where the newcomer takes the place of the oldest.
    pub handshakes_per_address: u32,
    /// Sessions, at once, those in their grace time included.
    pub sessions: u32,
    /// Sessions of one peer, or of all clients where no token is needed, at once.
    pub sessions_per_peer: u32,
    /// How long a TLS handshake, a request's head, and a session's first message may take, each.
    pub handshake_timeout_s: u32,
    /// How long one message may take to be written before its client counts as gone.
    pub write_timeout_s: u32,
    /// How long sessions may go on after SIGTERM, while `/readyz` says 503 and their clients know that they are to leave. A
    /// second signal ends the wait.
    pub drain_s: u32,
    /// How long a session outlives its connection.
    pub grace_s: u32,
    /// DNS queries being forwarded, at once. One session gets a sixth of them; half is for sessions that have none.
    pub dns_queries: u32,
    /// What each session may use.
    pub session: SessionAllowance,
    /// What all sessions of one peer may use together.
    pub peer: PeerAllowance,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshakes: 256,
            handshakes_per_address: 64,
            sessions: 1024,
            sessions_per_peer: 128,
            handshake_timeout_s: 10,
            write_timeout_s: 60,
            drain_s: 0,
            grace_s: 120,
            dns_queries: 256,
            session: SessionAllowance::default(),
            peer: PeerAllowance::default(),
        }
    }
}

impl Limits {
    /// The limits of a peer in no group.
    pub fn peer_limits(&self) -> PeerLimits {
        PeerLimits {
            sessions: self.sessions_per_peer as usize,
            each: self.session.allowance(),
            total: self.peer.allowance(),
        }
    }
}

impl super::Config {
    /// The peer of this name, with what its group gives it; `None` where there is no such group.
    pub fn peer(&self, name: &str, group: Option<&str>) -> Option<Peer> {
        let limits = self.limits.peer_limits();
        let Some(group) = group else { return Some(Peer { limits, ..Peer::new(name) }) };
        let group = self.group.iter().find(|it| it.name == group)?;
        Some(Peer {
            name: name.into(),
            group: Some(Arc::from(group.name.as_str())),
            network: group.network.as_deref().map(Arc::from),
            filtering: group.filtering.map(dataplane::Filtering::from),
            limits: group.limits.apply(limits),
            resumes_by_secret: false,
        })
    }

    /// The peer that all clients share where no credential tells them apart: they are held to what a session may use, and
    /// to no total, which one of them could use up.
    pub fn anyone(&self) -> Peer {
        let limits = PeerLimits { total: Allowance::UNLIMITED, ..self.limits.peer_limits() };
        Peer { limits, ..Peer::new("anyone") }
    }
}
