//! Figures for Prometheus. They are taken from the driver when they are asked for, so that counting costs the data path
//! nothing but plain additions, and nothing is kept twice.

mod collect;
mod process;
mod results;

use crate::dataplane::Stats;
use crate::io::doors::DoorFigures;
use collect::Figures;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
pub use results::{HandshakeResult, Handshakes, Outcome, Results, TicketResult, TicketResults};

/// What the driver of a shard knows at one moment.
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

impl Snapshot {
    /// The figures of all shards together.
    fn total(shards: &[Self]) -> Self {
        let mut total = Self::default();
        for shard in shards {
            total.stats += &shard.stats;
            total.connected += shard.connected;
            total.blocks += shard.blocks;
            total.free_blocks += shard.free_blocks;
            total.audit_lost += shard.audit_lost;
        }
        total
    }
}

/// The figures in OpenMetrics text: those of all shards together, and a few of each.
///
/// # Errors
/// Never in practice: writing to a String does not fail.
pub fn render(
    shards: Vec<Snapshot>,
    handshakes: &Handshakes,
    tickets: &TicketResults,
    doors: &DoorFigures,
) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    registry.register("webtun_handshakes", "Handshakes by result", handshakes.family.clone());
    registry.register("webtun_tickets", "Tickets, and requests for them, by result", tickets.family.clone());
    doors.register(&mut registry);
    registry.register_collector(Box::new(Figures { total: Snapshot::total(&shards), shards }));
    registry.register_collector(Box::new(process::Process));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::DropReason;

    fn fresh() -> String {
        render(vec![Snapshot::default()], &Handshakes::default(), &TicketResults::default(), &DoorFigures::default())
            .expect("text")
    }

    #[test]
    fn every_reason_and_result_is_there_from_the_start() {
        let text = fresh();
        for reason in DropReason::ALL {
            assert!(
                text.contains(&format!("webtun_dropped_packets_total{{reason=\"{}\"}} 0", reason.label())),
                "{text}"
            );
        }
        let handshakes = HandshakeResult::ALL.iter().map(|result| ("handshakes", result.label()));
        let tickets = TicketResult::ALL.iter().map(|result| ("tickets", result.label()));
        for (what, label) in handshakes.chain(tickets) {
            assert!(text.contains(&format!("webtun_{what}_total{{result=\"{label}\"}} 0")), "{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn every_figure_is_explained() {
        let text = fresh();
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
        let tickets = TicketResults::default();
        tickets.count(TicketResult::Redeemed);
        let other = Snapshot { free_blocks: 11, connected: 5, ..Snapshot::default() };
        let text = render(vec![snapshot, other], &handshakes, &tickets, &DoorFigures::default()).expect("text");
        for line in [
            "webtun_packets_total{direction=\"uplink\"} 17",
            "webtun_port_blocks{state=\"assigned\"} 3",
            "webtun_port_blocks{state=\"free\"} 200",
            "webtun_handshakes_total{result=\"displaced\"} 1",
            "webtun_tickets_total{result=\"redeemed\"} 1",
            "webtun_shard_packets_total{shard=\"0\",direction=\"uplink\"} 17",
            "webtun_shard_packets_total{shard=\"1\",direction=\"uplink\"} 0",
            "webtun_shard_sessions{shard=\"1\"} 5",
            "webtun_queue_delay_seconds_bucket{le=\"0.0001\"} 0",
            "webtun_queue_delay_seconds_bucket{le=\"0.0003\"} 2",
            "webtun_queue_delay_seconds_bucket{le=\"+Inf\"} 2",
            "webtun_queue_delay_seconds_sum 0.0005",
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
    }
}
