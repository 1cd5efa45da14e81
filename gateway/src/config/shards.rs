use super::{Addresses, Config, ExternalMode, Family, Invalid};
use crate::dataplane::MAX_SHARDS;
use serde::{Deserialize, Serialize};

/// Blocks of ports at one address that a shard should have: with fewer, a busy peer could use up what its shard has.
const BLOCKS_PER_SHARD: u32 = 192;

/// How many shards there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub enum ShardCount {
    /// One per two processors, as far as addresses and ports allow.
    Auto,
    /// So many.
    Count(u16),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Number(u16),
    Text(String),
}

impl TryFrom<Form> for ShardCount {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        match form {
            Form::Number(count) => Ok(Self::Count(count)),
            Form::Text(text) if text == "auto" => Ok(Self::Auto),
            Form::Text(text) => {
                text.parse().map(Self::Count).map_err(|_| format!("`{text}` is neither a number nor \"auto\""))
            }
        }
    }
}

impl From<ShardCount> for Form {
    fn from(count: ShardCount) -> Self {
        match count {
            ShardCount::Auto => Self::Text("auto".to_owned()),
            ShardCount::Count(count) => Self::Number(count),
        }
    }
}

impl Config {
    /// How many shards there are, on a machine with so many processors.
    pub fn shard_count(&self, processors: usize) -> usize {
        match self.shards {
            ShardCount::Count(count) => count.into(),
            ShardCount::Auto => (processors / 2).min(self.comfortable_shards()).clamp(1, MAX_SHARDS),
        }
    }

    /// How many threads the gateway has: one for each shard, since a connection has little to do beside its shard, and a
    /// message that changes threads waits for the other one to wake. Ciphers have much to do: with TLS it is one for each
    /// processor, at least.
    pub fn threads(&self, processors: usize) -> usize {
        let shards = self.shard_count(processors);
        if self.tls.certificate.is_some() { shards.max(processors) } else { shards }
    }

    /// The name of a shard's TUN device.
    pub fn device_name(&self, shard: usize) -> String {
        if shard == 0 { self.tun.name.clone() } else { format!("{}-{shard}", self.tun.name) }
    }

    fn comfortable_shards(&self) -> usize {
        if self.tun.name.len() > LONGEST_NAME {
            return 1;
        }
        let by_ports = self.external.port_range.count() / u32::from(self.nat.block_size) / BLOCKS_PER_SHARD;
        let by_mode = match self.external.mode {
            ExternalMode::Masquerade => by_ports as usize,
            ExternalMode::Routed => self.least_addresses(),
        };
        by_mode.min(self.hosts() / 256)
    }

    /// Of the families that have external addresses, the fewest.
    fn least_addresses(&self) -> usize {
        fn count<A: Family>(addresses: &Addresses<A>) -> Option<usize> {
            (!addresses.is_off()).then(|| addresses.as_slice().len())
        }
        let external = &self.external;
        let v6 = count(&external.ipv6).filter(|_| external.ipv6_prefix.is_none());
        count(&external.ipv4).into_iter().chain(v6).min().unwrap_or(MAX_SHARDS)
    }

    /// Inner addresses in pairs of both families.
    fn hosts(&self) -> usize {
        1 << (32 - self.inner.ipv4.prefix_len()).min(128 - self.inner.ipv6.prefix_len()).min(28)
    }

    pub(super) fn validate_shards(&self) -> Result<(), Invalid> {
        let ShardCount::Count(count) = self.shards else { return Ok(()) };
        let fail = |problem: String| Err(Invalid { key: "shards", problem });
        let count = usize::from(count);
        if !(1..=MAX_SHARDS).contains(&count) {
            return fail(format!("from 1 to {MAX_SHARDS}, or \"auto\""));
        }
        if count == 1 {
            return Ok(());
        }
        if self.external.mode == ExternalMode::Routed && self.least_addresses() < count {
            return fail(format!("in mode \"routed\" {count} shards need as many external addresses of each family"));
        }
        let blocks = self.external.port_range.count() / u32::from(self.nat.block_size);
        if self.external.mode == ExternalMode::Masquerade && (blocks as usize) < count {
            return fail(format!("`external.port_range` has no block of ports for each of {count}"));
        }
        if self.hosts() / count.next_power_of_two() < 8 {
            return fail(format!("`inner` has fewer than 8 addresses for each of {count}"));
        }
        if self.tun.name.len() > LONGEST_NAME {
            return fail(format!("with several, `tun.name` has at most {LONGEST_NAME} characters"));
        }
        Ok(())
    }
}

/// Of a device to whose name the number of a shard is added.
const LONGEST_NAME: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_shards_leave_each_other_enough() {
        let mut config = Config { shards: ShardCount::Auto, ..Config::default() };
        let counts = |config: &Config| [1, 2, 4, 16].map(|processors| config.shard_count(processors));
        assert_eq!(counts(&config), [1, 1, 2, 2], "384 blocks of ports are enough for two");
        config.external.mode = ExternalMode::Routed;
        assert_eq!(counts(&config), [1, 1, 1, 1], "one address");
        config.external.ipv4 = serde_json::from_str("\"198.51.100.0/29\"").expect("a pool");
        assert_eq!(counts(&config), [1, 1, 1, 1], "one IPv6 address");
        config.external.ipv6_prefix = "2001:db8::/64".parse().ok();
        assert_eq!(counts(&config), [1, 1, 2, 8]);
        config.tun.name = "a-long-name-00".to_owned();
        assert_eq!(counts(&config), [1, 1, 1, 1]);
    }
}
