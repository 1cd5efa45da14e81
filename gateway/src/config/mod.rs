//! What the operator can set: every key with its default.
//!
//! Values come from, in rising order of precedence: the defaults below, a TOML file, `WEBTUN_*` variables, flags
//! ([`cli`]). A key that does not exist is an error in each of them ([`load`]). Durations are whole seconds and say so
//! by the ending `_s`.

mod addresses;
mod auth;
pub mod cli;
mod dataplane;
pub mod doors;
mod http;
mod limits;
pub mod load;
mod origin;
mod sections;
mod shards;
mod validate;
mod values;

pub use addresses::{Addresses, Family};
pub use auth::{Auth, AuthKey, AuthToken, Jwt, PublicKey, Token, TokenHash, is_peer_name};
pub use http::{ForwardedHeader, Http, Tls};
pub use limits::{AllowanceChanges, Group, Limit, LimitChanges, Limits, PeerAllowance, SessionAllowance};
pub use origin::{AllowedOrigin, Origin, split_authority};
pub use sections::{
    Audit, Dns, EgressChoice, External, ExternalMode, Filtering, Inner, Log, LogFormat, Nat, Nat64, Policy,
    PolicyAction, PolicyProtocol, PolicyRule, Split, Tun,
};
pub use shards::ShardCount;
pub use validate::Invalid;
pub use values::{PortRange, Switch, is_token};

use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address and port of the one HTTP listener. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address and port of the operator's listener, with metrics, or `"off"`.
    pub admin: Switch<SocketAddr>,
    /// A folder whose files are served on all paths but `/healthz` and `/readyz`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub static_dir: Option<PathBuf>,
    /// Bearer tokens, each of which opens sessions, or their hashes. Where there is no credential at all and `listen` is
    /// not a loopback address, a token is made, kept in `state_dir` and printed.
    pub tokens: Vec<Token>,
    /// Origins whose pages may connect, as `scheme://host[:port]`, besides pages from the gateway's own host. `*` before a
    /// domain stands for the names below it, alone for any origin; `null` is that of files and sandboxed frames.
    pub allow_origins: Vec<AllowedOrigin>,
    /// Credentials with more to say.
    pub auth: Auth,
    /// TLS at the listener.
    pub tls: Tls,
    /// Proxies before the listener.
    pub http: Http,
    /// Where the made token is kept.
    pub state_dir: PathBuf,
    /// Where it is noted what has been changed on this machine, so that a crash leaves nothing behind.
    pub runtime_dir: PathBuf,
    /// How many dataplanes serve side by side, 64 at most, each with a TUN device and a part of the external
    /// addresses (mode `routed`) or of their ports (mode `masquerade`); `"auto"`: one per two processors, as far as each gets
    /// 192 blocks of ports, or an address.
    pub shards: ShardCount,
    /// How packets leave: `"tun"` by a TUN device, `"user"` by ordinary sockets, which takes no privilege; `"auto"`: by a TUN
    /// device where one can be had.
    pub egress: EgressChoice,
    /// The TUN device.
    pub tun: Tun,
    /// Addresses and ports on the outer side of the NAT.
    pub external: External,
    /// Addresses of the clients.
    pub inner: Inner,
    /// Behaviour of the NAT.
    pub nat: Nat,
    /// IPv4 for clients' IPv6 addresses.
    pub nat64: Nat64,
    /// Where clients may connect to.
    pub policy: Policy,
    /// Groups of peers.
    pub group: Vec<Group>,
    /// The DNS forwarder at the gateway's inner address.
    pub dns: Dns,
    /// Ways in for clients that speak no protocol of ours.
    pub doors: doors::Doors,
    /// Bounds on what clients can use.
    pub limits: Limits,
    /// Logging.
    pub log: Log,
    /// Who had which addresses and ports.
    pub audit: Audit,
}

impl Config {
    /// True where a credential is configured, without which nobody may come in.
    pub fn has_credentials(&self) -> bool {
        let auth = &self.auth;
        !(self.tokens.is_empty() && auth.token.is_empty() && auth.key.is_empty() && auth.jwt.is_empty())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8077)),
            admin: Switch::On(SocketAddr::from((Ipv4Addr::LOCALHOST, 9077))),
            static_dir: None,
            tokens: Vec::new(),
            allow_origins: Vec::new(),
            auth: Auth::default(),
            tls: Tls::default(),
            http: Http::default(),
            state_dir: PathBuf::from("/var/lib/webtun"),
            runtime_dir: PathBuf::from("/run/webtun"),
            shards: ShardCount::Auto,
            egress: EgressChoice::Auto,
            tun: Tun::default(),
            external: External::default(),
            inner: Inner::default(),
            nat: Nat::default(),
            nat64: Nat64::default(),
            policy: Policy::default(),
            group: Vec::new(),
            dns: Dns::default(),
            doors: doors::Doors::default(),
            limits: Limits::default(),
            log: Log::default(),
            audit: Audit::default(),
        }
    }
}
