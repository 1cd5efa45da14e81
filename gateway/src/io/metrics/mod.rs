//! Figures for Prometheus. They are taken from the driver when they are asked for, so that counting costs the data path
//! nothing but plain additions, and nothing is kept twice.

mod collect;
mod process;

use crate::dataplane::Stats;
use collect::Figures;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use webtun_wire::CloseCode;

/// What the driver knows at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The dataplane's counters.
    pub stats: Stats,
    /// Sessions with a connection.
    pub connected: usize,
    /// Port blocks that sessions have.
    pub blocks: u64,
    /// Port blocks that nobody has.
    pub free_blocks: usize,
    /// Lines that the audit log has had no room for.
    pub audit_lost: u64,
}

type Label = [(&'static str, &'static str); 1];

/// How a handshake has ended: TLS, HTTP, or the WebSocket's up to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeResult {
    /// With a session, new or resumed.
    Accepted,
    /// By CLOSE.
    Refused(CloseCode),
    /// The client has not done its part in time.
    Timeout,
    /// The client has gone.
    Gone,
    /// A newcomer has taken its place.
    Displaced,
    /// The page was of a foreign origin.
    Origin,
    /// Too many wrong credentials had come from that address.
    Throttled,
    /// TLS has failed.
    Tls,
}

impl HandshakeResult {
    const ALL: [Self; 17] = [
        Self::Accepted,
        Self::Timeout,
        Self::Gone,
        Self::Displaced,
        Self::Origin,
        Self::Throttled,
        Self::Tls,
        Self::Refused(CloseCode::Normal),
        Self::Refused(CloseCode::Shutdown),
        Self::Refused(CloseCode::Version),
        Self::Refused(CloseCode::Protocol),
        Self::Refused(CloseCode::Internal),
        Self::Refused(CloseCode::Exhausted),
        Self::Refused(CloseCode::Limit),
        Self::Refused(CloseCode::Unauthorized),
        Self::Refused(CloseCode::UnknownSession),
        Self::Refused(CloseCode::Replaced),
    ];

    /// A stable name in snake case.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::Displaced => "displaced",
            Self::Origin => "origin",
            Self::Throttled => "throttled",
            Self::Tls => "tls",
            Self::Refused(CloseCode::Normal) => "normal",
            Self::Refused(CloseCode::Shutdown) => "shutdown",
            Self::Refused(CloseCode::Version) => "version",
            Self::Refused(CloseCode::Protocol) => "protocol",
            Self::Refused(CloseCode::Internal) => "internal",
            Self::Refused(CloseCode::Exhausted) => "exhausted",
            Self::Refused(CloseCode::Limit) => "limit",
            Self::Refused(CloseCode::Unauthorized) => "unauthorized",
            Self::Refused(CloseCode::UnknownSession) => "unknown_session",
            Self::Refused(CloseCode::Replaced) => "replaced",
        }
    }
}

/// Handshakes by result; clones count together.
#[derive(Clone, Debug)]
pub struct Handshakes(Family<Label, Counter>);

impl Default for Handshakes {
    /// All results begin at zero, so that a rate can be had from the first one on.
    fn default() -> Self {
        let family = Family::<Label, Counter>::default();
        for result in HandshakeResult::ALL {
            drop(family.get_or_create(&[("result", result.label())]));
        }
        Self(family)
    }
}

impl Handshakes {
    /// Counts one.
    pub fn count(&self, result: HandshakeResult) {
        self.0.get_or_create(&[("result", result.label())]).inc();
    }
}

/// The figures in OpenMetrics text.
///
/// # Errors
/// Never in practice: writing to a String does not fail.
pub fn render(snapshot: Snapshot, handshakes: &Handshakes) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    registry.register("webtun_handshakes", "Handshakes by result", handshakes.0.clone());
    registry.register_collector(Box::new(Figures(snapshot)));
    registry.register_collector(Box::new(process::Process));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::DropReason;

    #[test]
    fn every_reason_and_result_is_there_from_the_start() {
        let text = render(Snapshot::default(), &Handshakes::default()).expect("text");
        for reason in DropReason::ALL {
            assert!(
                text.contains(&format!("webtun_dropped_packets_total{{reason=\"{}\"}} 0", reason.label())),
                "{text}"
            );
        }
        for result in HandshakeResult::ALL {
            assert!(text.contains(&format!("webtun_handshakes_total{{result=\"{}\"}} 0", result.label())), "{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn every_figure_is_explained() {
        let text = render(Snapshot::default(), &Handshakes::default()).expect("text");
        let explained = |kind: &str| -> Vec<&str> {
            text.lines().filter_map(|line| line.strip_prefix(kind)?.split(' ').next()).collect()
        };
        let (helps, types) = (explained("# HELP "), explained("# TYPE "));
        assert_eq!(helps, types);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(helps.iter().any(|name| line.starts_with(name)), "{line}");
        }
        let documented = include_str!("../../../README.md");
        for name in helps {
            assert!(documented.contains(name), "{name} is not in the README");
        }
    }

    #[test]
    fn figures_are_those_of_the_snapshot() {
        let mut snapshot = Snapshot { blocks: 3, free_blocks: 189, ..Snapshot::default() };
        snapshot.stats.uplink.packets = 17;
        snapshot.stats.queue_delay.counts[1] = 2;
        snapshot.stats.queue_delay.sum_us = 500;
        let handshakes = Handshakes::default();
        handshakes.count(HandshakeResult::Displaced);
        let text = render(snapshot, &handshakes).expect("text");
        for line in [
            "webtun_packets_total{direction=\"uplink\"} 17",
            "webtun_port_blocks{state=\"assigned\"} 3",
            "webtun_port_blocks{state=\"free\"} 189",
            "webtun_handshakes_total{result=\"displaced\"} 1",
            "webtun_queue_delay_seconds_bucket{le=\"0.0001\"} 0",
            "webtun_queue_delay_seconds_bucket{le=\"0.0003\"} 2",
            "webtun_queue_delay_seconds_bucket{le=\"+Inf\"} 2",
            "webtun_queue_delay_seconds_sum 0.0005",
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
    }
}
