//! How long a mapping lives without traffic.

use core::time::Duration;

use crate::dataplane::ConfigError;

/// Idle timers. Each default is the RFC's recommendation, and none may be set below the RFC's minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatTimeouts {
    /// UDP: RFC 4787 REQ-5, 5 minutes recommended, 2 at least.
    pub udp: Duration,
    /// ICMP echo: RFC 5508 REQ-1, at least 60 seconds.
    pub icmp: Duration,
    /// TCP once both sides have spoken: RFC 5382 REQ-5, at least 2 hours 4 minutes.
    pub tcp_established: Duration,
    /// TCP while it opens, after both FINs and after a RST: RFC 5382 REQ-5 and RFC 7857 section 2, 4 minutes.
    pub tcp_transitory: Duration,
}

impl Default for NatTimeouts {
    fn default() -> Self {
        Self {
            udp: Duration::from_secs(300),
            icmp: Duration::from_secs(60),
            tcp_established: Duration::from_secs(2 * 3600 + 4 * 60),
            tcp_transitory: Duration::from_secs(240),
        }
    }
}

impl NatTimeouts {
    pub(in crate::dataplane) fn validate(&self) -> Result<(), ConfigError> {
        let minimum = Self { udp: Duration::from_secs(120), ..Self::default() };
        let long_enough = self.udp >= minimum.udp
            && self.icmp >= minimum.icmp
            && self.tcp_established >= minimum.tcp_established
            && self.tcp_transitory >= minimum.tcp_transitory;
        if long_enough { Ok(()) } else { Err(ConfigError::Timeout) }
    }
}
