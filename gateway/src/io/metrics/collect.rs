use super::Snapshot;
use crate::dataplane::{Delays, DropReason};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt::Error;

/// The figures of all shards together, and of each.
#[derive(Debug)]
pub(super) struct Figures {
    pub total: Snapshot,
    pub shards: Vec<Snapshot>,
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let out = &mut encoder;
        self.sessions(out)?;
        self.traffic(out)?;
        self.nat(out)?;
        self.streams(out)?;
        self.delay(out)?;
        self.shards(out)?;
        counter(out, "webtun_audit_lines_lost", "Audit lines that the log had no room for", self.total.audit_lost)
    }
}

impl Figures {
    fn sessions(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let stats = &self.total.stats;
        let connected = self.total.connected as u64;
        let states = [("connected", connected), ("detached", stats.sessions.saturating_sub(connected))];
        rows(out, MetricType::Gauge, ("webtun_sessions", "Sessions now"), "state", &states)?;
        counter(out, "webtun_sessions_opened", "Sessions opened", stats.sessions_opened)?;
        counter(out, "webtun_sessions_resumed", "Connections that went on with a session", stats.sessions_resumed)?;
        counter(out, "webtun_protocol_errors", "Sessions closed for a broken protocol", stats.protocol_errors)
    }

    /// What tells whether one shard has more to do than the others.
    fn shards(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Sessions of a shard with a connection";
        let mut metric = out.encode_descriptor("webtun_shard_sessions", help, None, MetricType::Gauge)?;
        for (number, shard) in self.shards.iter().enumerate() {
            let labels = [("shard", number.to_string())];
            ConstGauge::new(shard.connected as u64).encode(metric.encode_family(&labels)?)?;
        }
        let help = "IP packets by shard and place";
        let mut metric = out.encode_descriptor("webtun_shard_packets", help, None, MetricType::Counter)?;
        for (number, Snapshot { stats, .. }) in self.shards.iter().enumerate() {
            for (name, traffic) in [("uplink", stats.uplink), ("downlink", stats.downlink), ("shards", stats.shards)] {
                let labels = [("shard", number.to_string()), ("direction", name.to_owned())];
                ConstCounter::new(traffic.packets).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn traffic(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let stats = &self.total.stats;
        let directions = [
            ("uplink", stats.uplink),
            ("downlink", stats.downlink),
            ("egress", stats.egress),
            ("local", stats.local),
            ("network", stats.network),
            ("shards", stats.shards),
            ("delivered", stats.delivered),
        ];
        let packets = directions.map(|(name, traffic)| (name, traffic.packets));
        rows(out, MetricType::Counter, ("webtun_packets", "IP packets by place"), "direction", &packets)?;
        let octets = directions.map(|(name, traffic)| (name, traffic.octets));
        rows(out, MetricType::Counter, ("webtun_octets", "Octets of IP packets by place"), "direction", &octets)?;
        let drops = DropReason::ALL.map(|reason| (reason.label(), stats.drops(reason)));
        rows(out, MetricType::Counter, ("webtun_dropped_packets", "Packets dropped by reason"), "reason", &drops)?;
        counter(out, "webtun_icmp_errors", "ICMP errors that the gateway made", stats.icmp_errors)
    }

    fn nat(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let stats = &self.total.stats;
        let denied = [DropReason::DestinationClass, DropReason::OwnAddress, DropReason::DeniedByRule]
            .map(|reason| (reason.label(), stats.drops(reason)));
        rows(
            out,
            MetricType::Counter,
            ("webtun_denied_flows", "Packets of flows that the policy denies"),
            "reason",
            &denied,
        )?;
        let bindings = [("all", stats.mappings), ("mapped_port", stats.mapped_ports)];
        rows(out, MetricType::Gauge, ("webtun_nat_bindings", "NAT bindings now"), "kind", &bindings)?;
        counter(out, "webtun_nat_bindings_created", "NAT bindings made", stats.mappings_created)?;
        let blocks = [("assigned", self.total.blocks), ("free", self.total.free_blocks as u64)];
        rows(out, MetricType::Gauge, ("webtun_port_blocks", "Blocks of external ports"), "state", &blocks)?;
        let exhausted = stats.drops(DropReason::NoPorts);
        counter(out, "webtun_port_exhaustion", "Packets of new flows for which there was no port", exhausted)
    }

    fn streams(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let stats = &self.total.stats;
        rows(out, MetricType::Gauge, ("webtun_streams", "Streams now"), "state", &[("open", stats.streams)])?;
        counter(out, "webtun_streams_opened", "Streams that clients have opened", stats.streams_opened)?;
        let octets = [("uplink", stats.stream_uplink_octets), ("downlink", stats.stream_downlink_octets)];
        rows(out, MetricType::Counter, ("webtun_stream_octets", "Octets of streams"), "direction", &octets)
    }

    fn delay(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let Delays { counts, sum_us } = self.total.stats.queue_delay;
        let bounds = Delays::BOUNDS.into_iter().map(seconds).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let help = "Time of packets in sessions' queues";
        let mut metric = out.encode_descriptor("webtun_queue_delay_seconds", help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(seconds(sum_us), counts.iter().sum(), &buckets, None)
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), Error> {
    let counter = ConstCounter::new(value);
    counter.encode(out.encode_descriptor(name, help, None, MetricType::Counter)?)
}

/// A family of counters or of gauges: a row for each value of its label.
fn rows(
    out: &mut DescriptorEncoder<'_>,
    kind: MetricType,
    (name, help): (&str, &str),
    label: &'static str,
    rows: &[(&'static str, u64)],
) -> Result<(), Error> {
    let mut metric = out.encode_descriptor(name, help, None, kind)?;
    rows.iter().try_for_each(|(key, value)| {
        let labels = [(label, *key)];
        let row = metric.encode_family(&labels)?;
        match kind {
            MetricType::Counter => ConstCounter::new(*value).encode(row),
            _ => ConstGauge::new(*value).encode(row),
        }
    })
}
