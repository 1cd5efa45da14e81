//! How long a mapping lives without traffic, and how long its port rests thereafter.

use core::time::Duration;

use crate::dataplane::ConfigError;

/// Idle timers. Each default is the RFC's recommendation, and none may be set below the RFC's minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatTimeouts {
    /// UDP: RFC 4787 REQ-5, 5 minutes recommended, 2 at least.
    pub udp: Duration,
    /// ICMP echo: RFC 5508 REQ-2, at least 60 seconds.
    pub icmp: Duration,
    /// TCP while only one side has spoken: RFC 5382 REQ-5, 4 minutes; RFC 7857 section 2.1 lets it be less. At least 30
    /// seconds here, in which a SYN is sent five times.
    pub tcp_opening: Duration,
    /// TCP once both sides have spoken: RFC 5382 REQ-5, at least 2 hours 4 minutes.
    pub tcp_established: Duration,
    /// TCP after both FINs and after a RST: RFC 5382 REQ-5 and RFC 7857 section 2.2, at least 4 minutes.
    pub tcp_closing: Duration,
}

impl Default for NatTimeouts {
    fn default() -> Self {
        Self {
            udp: Duration::from_secs(300),
            icmp: Duration::from_secs(60),
            tcp_opening: Duration::from_secs(240),
            tcp_established: Duration::from_secs(2 * 3600 + 4 * 60),
            tcp_closing: Duration::from_secs(240),
        }
    }
}

impl NatTimeouts {
    /// The shortest that is allowed.
    pub const MINIMUM: Self = Self {
        udp: Duration::from_secs(120),
        icmp: Duration::from_secs(60),
        tcp_opening: Duration::from_secs(30),
        tcp_established: Duration::from_secs(2 * 3600 + 4 * 60),
        tcp_closing: Duration::from_secs(240),
    };

    pub(in crate::dataplane) fn validate(&self) -> Result<(), ConfigError> {
        let minimum = Self::MINIMUM;
        let long_enough = self.udp >= minimum.udp
            && self.icmp >= minimum.icmp
            && self.tcp_opening >= minimum.tcp_opening
            && self.tcp_established >= minimum.tcp_established
            && self.tcp_closing >= minimum.tcp_closing;
        if long_enough { Ok(()) } else { Err(ConfigError::Timeout) }
    }
}
