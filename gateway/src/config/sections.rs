use super::{Addresses, PortRange, Switch};
use crate::dataplane::Pref64;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `[tun]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tun {
    /// The device's name, at most 15 characters.
    pub name: String,
    /// Whether clients may leave checksums and segmentation to the gateway, which leaves them to the device where the
    /// kernel can do them.
    pub offload: bool,
}

impl Default for Tun {
    fn default() -> Self {
        Self { name: "webtun0".to_owned(), offload: true }
    }
}

/// How packets leave the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum EgressChoice {
    /// By a TUN device where one can be had, else by sockets.
    Auto,
    /// By a TUN device, which the kernel forwards to the world.
    Tun,
    /// By ordinary sockets of this machine.
    User,
}

/// How packets get from the TUN device to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExternalMode {
    /// The kernel translates the external addresses to the machine's own and leaves the ports as they are.
    Masquerade,
    /// The network routes the external addresses to this machine; the kernel only forwards.
    Routed,
}

/// `[external]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct External {
    /// How packets leave.
    pub mode: ExternalMode,
    /// The NAT's IPv4 addresses on the TUN device, 256 at most, or `"off"`. Each session has one of them, and each of them
    /// has the ports of `port_range`.
    pub ipv4: Addresses<Ipv4Addr>,
    /// Likewise for IPv6.
    pub ipv6: Addresses<Ipv6Addr>,
    /// A prefix of at most 64 bits that the network routes to this machine, in place of `ipv6`: clients' addresses are
    /// translated into it (RFC 6296), or are the same on both sides where it is `inner.ipv6`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_prefix: Option<Ipv6Net>,
    /// When masquerading, the machine's own addresses that the kernel translates those of `ipv4` to, one for each in their
    /// order. `"off"`: the one that the kernel chooses by the route, for a single address.
    #[serde(skip_serializing_if = "Addresses::is_off")]
    pub machine_ipv4: Addresses<Ipv4Addr>,
    /// Likewise for IPv6.
    #[serde(skip_serializing_if = "Addresses::is_off")]
    pub machine_ipv6: Addresses<Ipv6Addr>,
    /// The IPv4 addresses told to clients as theirs on the outside, one for each of `ipv4` in their order. `"off"`:
    /// `machine_ipv4`, else the machine's primary one when masquerading, else `ipv4`.
    #[serde(skip_serializing_if = "Addresses::is_off")]
    pub announced_ipv4: Addresses<Ipv4Addr>,
    /// Likewise for IPv6.
    #[serde(skip_serializing_if = "Addresses::is_off")]
    pub announced_ipv6: Addresses<Ipv6Addr>,
    /// The ports that belong to the clients, on all of the machine's addresses when masquerading.
    pub port_range: PortRange,
    /// The largest packet in octets that the path to the outside takes; larger ones are fragmented, and the MSS of TCP
    /// is clamped. Default: the MTU of the interface with the default route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_mtu: Option<u16>,
}

impl Default for External {
    fn default() -> Self {
        Self {
            mode: ExternalMode::Masquerade,
            ipv4: Addresses::one(Ipv4Addr::new(100, 127, 255, 1)),
            ipv6: Addresses::one(Ipv6Addr::new(0xfd77, 0x6562, 0x7475, 0xffff, 0, 0, 0, 1)),
            ipv6_prefix: None,
            machine_ipv4: Addresses::OFF,
            machine_ipv6: Addresses::OFF,
            announced_ipv4: Addresses::OFF,
            announced_ipv6: Addresses::OFF,
            port_range: PortRange { first: 16384, last: 65535 },
            path_mtu: None,
        }
    }
}

/// `[inner]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inner {
    /// Clients get addresses from here; the first one (`.1`) is the gateway's.
    pub ipv4: Ipv4Net,
    /// Likewise.
    pub ipv6: Ipv6Net,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            ipv4: Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 16),
            ipv6: Ipv6Net::new_assert(Ipv6Addr::new(0xfd77, 0x6562, 0x7475, 0, 0, 0, 0, 0), 64),
        }
    }
}

/// Which packets of the outside may use a mapping (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filtering {
    /// From any endpoint.
    EndpointIndependent,
    /// From addresses that the client has sent to.
    AddressDependent,
    /// From endpoints that the client has sent to.
    AddressAndPortDependent,
}

/// `[nat]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nat {
    /// Filtering behaviour.
    pub filtering: Filtering,
    /// Idle time of a UDP mapping; RFC 4787 REQ-5 asks for 120 at least and recommends 300.
    pub udp_timeout_s: u32,
    /// Idle time of an established TCP connection; RFC 5382 REQ-5 asks for 7440 at least.
    pub tcp_established_timeout_s: u32,
    /// Idle time of a TCP connection that opens; RFC 5382 REQ-5 recommends 240, RFC 7857 lets it be less; 30 at least.
    pub tcp_opening_timeout_s: u32,
    /// Idle time of a TCP connection that closes or was reset; RFC 5382 REQ-5 asks for 240 at least.
    pub tcp_closing_timeout_s: u32,
    /// Idle time of an ICMP query; RFC 5508 REQ-2 asks for 60 at least.
    pub icmp_timeout_s: u32,
    /// External ports per block (RFC 7422), a multiple of 64 from 64 to 16384. A session gets one block and, as it needs
    /// them, more.
    pub block_size: u16,
    /// How long nothing may be mapped in a block before it goes back; a session keeps one.
    pub block_idle_s: u32,
    /// How long a port rests between two mappings, and a block between two sessions (RFC 6888 REQ-8).
    pub port_hold_s: u32,
    /// Ports that rest at once; beyond it the one that has rested longest is free early.
    pub held_ports: u32,
    /// Whether a SYN that no client has asked for is answered, after 6 seconds, by an ICMP error (RFC 5382 REQ-4).
    pub answer_unsolicited: bool,
}

impl Default for Nat {
    fn default() -> Self {
        Self {
            filtering: Filtering::AddressDependent,
            udp_timeout_s: 300,
            tcp_established_timeout_s: 7440,
            tcp_opening_timeout_s: 240,
            tcp_closing_timeout_s: 240,
            icmp_timeout_s: 60,
            block_size: 128,
            block_idle_s: 120,
            port_hold_s: 120,
            held_ports: 32_768,
            answer_unsolicited: true,
        }
    }
}

/// `[nat64]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nat64 {
    /// The prefix below which IPv4 addresses are reached from IPv6 (RFC 6052), or `"off"`.
    pub prefix: Switch<Ipv6Net>,
    /// Whether the DNS forwarder makes IPv6 addresses below the prefix for names that have IPv4 ones alone (RFC 6147), for
    /// clients that ask over IPv6.
    pub dns64: bool,
}

impl Default for Nat64 {
    fn default() -> Self {
        Self { prefix: Switch::On(Pref64::WELL_KNOWN.prefix()), dns64: true }
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyAction {
    /// Forward.
    Allow,
    /// Refuse.
    Deny,
}

/// What a rule applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyProtocol {
    /// All of them.
    #[default]
    Any,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP and ICMPv6.
    Icmp,
}

/// `[[policy.rule]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// What to do with flows that match.
    pub action: PolicyAction,
    /// Destination addresses; all where absent. Only a prefix of one address opens this machine's own and those of clouds'
    /// metadata services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<IpNet>,
    /// The group of the client's peer; all clients where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// IP protocol; any where absent.
    #[serde(default)]
    pub protocol: PolicyProtocol,
    /// Destination ports; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortRange>,
}

/// Whether the gateway makes TCP connections of clients with sockets of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Where the client asks for it.
    #[default]
    Allowed,
    /// Never.
    Forbidden,
    /// Always: packets that would begin one are denied.
    Required,
}

/// `[policy]`: the first rule that matches decides. Where none does, only global unicast destinations are reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether TCP connections are made by this machine's kernel where clients ask for it (streams), or always.
    pub split: Split,
    /// NAT64 prefixes of other translators in the network. What lies below them is judged as IPv4, too.
    pub nat64_prefixes: Vec<Ipv6Net>,
    /// In order.
    pub rule: Vec<PolicyRule>,
}

/// `[dns]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Resolvers to forward to, in order of preference. Empty: the machine's, from `/etc/resolv.conf`.
    pub upstream: Vec<IpAddr>,
    /// How long one resolver has for an answer before the next is asked.
    pub timeout_s: u32,
    /// Resolvers for names at and below a domain; the longest domain that matches decides.
    pub zones: BTreeMap<String, Vec<IpAddr>>,
}

impl Default for Dns {
    fn default() -> Self {
        Self { upstream: Vec::new(), timeout_s: 2, zones: BTreeMap::new() }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What to log, in the syntax of `tracing`'s `EnvFilter`: `info`, or `warn,webtun_gateway=debug`.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object per line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

/// `[audit]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// A file, `"stdout"`, or `"off"`.
    pub output: Switch<String>,
    /// The file is turned over when it is larger.
    pub file_octets: u32,
    /// How many old files are kept, as `FILE.1` and so on.
    pub files: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self { output: Switch::Off, file_octets: 16 << 20, files: 8 }
    }
}
