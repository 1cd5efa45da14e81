//! Which addresses are global unicast, by the IANA special-purpose registries.
//!
//! IPv4 lists what is not; IPv6 has one global prefix, 2000::/3, and lists the exceptions within it. IPv6 addresses that
//! carry an IPv4 destination (mapped, compatible, 6to4, Teredo, NAT64, ISATAP) have it found by [`embedded_v4`], so that
//! an allow rule for the outer address cannot reach an inner one that is denied.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use ipnet::Ipv6Net;

use super::Pref64;

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u32) -> (u32, u32) {
    (u32::from_be_bytes([a, b, c, d]), length)
}

/// IANA IPv4 Special-Purpose Address Registry (RFC 6890), multicast, and the Azure host address, which is global by its
/// number only. AS112 and AMT are globally reachable, but the nearest instance is a service of the network itself.
const NOT_GLOBAL_V4: [(u32, u32); 18] = [
    v4(0, 0, 0, 0, 8),        // this network, RFC 791
    v4(10, 0, 0, 0, 8),       // private, RFC 1918
    v4(100, 64, 0, 0, 10),    // shared address space, RFC 6598
    v4(127, 0, 0, 0, 8),      // loopback, RFC 1122
    v4(168, 63, 129, 16, 32), // Azure's metadata and DNS
    v4(169, 254, 0, 0, 16),   // link-local, RFC 3927
    v4(172, 16, 0, 0, 12),    // private, RFC 1918
    v4(192, 0, 0, 0, 24),     // IETF protocol assignments, RFC 6890
    v4(192, 0, 2, 0, 24),     // documentation, RFC 5737
    v4(192, 31, 196, 0, 24),  // AS112, RFC 7535
    v4(192, 52, 193, 0, 24),  // AMT, RFC 7450
    v4(192, 88, 99, 0, 24),   // 6to4 relay anycast, RFC 7526
    v4(192, 168, 0, 0, 16),   // private, RFC 1918
    v4(192, 175, 48, 0, 24),  // AS112, RFC 7534
    v4(198, 18, 0, 0, 15),    // benchmarking, RFC 2544
    v4(198, 51, 100, 0, 24),  // documentation, RFC 5737
    v4(203, 0, 113, 0, 24),   // documentation, RFC 5737
    v4(224, 0, 0, 0, 3),      // multicast and reserved, RFC 5771 and RFC 1112, with the broadcast address
];

const fn v6(a: u16, b: u16, c: u16, length: u32) -> (u128, u32) {
    ((a as u128) << 112 | (b as u128) << 96 | (c as u128) << 80, length)
}

/// IANA IPv6 Special-Purpose Address Registry (RFC 6890), as far as it lies within 2000::/3.
const NOT_GLOBAL_V6: [(u128, u32); 5] = [
    v6(0x2001, 0, 0, 23),         // IETF protocol assignments (Teredo, ORCHID, benchmarking), RFC 2928
    v6(0x2001, 0xdb8, 0, 32),     // documentation, RFC 3849
    v6(0x2002, 0, 0, 16),         // 6to4, RFC 3056
    v6(0x2620, 0x4f, 0x8000, 48), // AS112, RFC 7534
    v6(0x3fff, 0, 0, 20),         // documentation, RFC 9637
];

const GLOBAL_V6: (u128, u32) = v6(0x2000, 0, 0, 3);

/// Where clouds hand out credentials to whoever asks from within. Prefixes that contain them are opened by rules for
/// other reasons, so these take a rule of their own.
const METADATA: [IpAddr; 7] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), // nearly all of them
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),   // Amazon's containers
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), // Alibaba
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),     // Oracle
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),   // Azure
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), // Amazon
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), // Google
];

/// Whether `address` is a cloud's metadata service.
pub(super) fn is_metadata(address: IpAddr) -> bool {
    METADATA.contains(&address)
}

/// Whether packets to `address` may leave by default.
pub(super) fn is_global_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !NOT_GLOBAL_V4.iter().any(|(prefix, length)| matches_v4(v4, *prefix, *length)),
        IpAddr::V6(v6) => matches_v6(v6, GLOBAL_V6) && !NOT_GLOBAL_V6.iter().any(|prefix| matches_v6(v6, *prefix)),
    }
}

/// Whether no router forwards packets to `address`, whatever a rule says: unspecified, loopback, link-local, multicast
/// and reserved.
pub(super) fn is_never_forwarded(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.octets()[0] == 0 || v4.is_loopback() || v4.is_link_local() || matches_v4(v4, 0xE000_0000, 3)
        }
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast(),
    }
}

/// Whether no packet on a wire has `address` as its source: what is never forwarded, and IPv6 that stands for such an IPv4
/// address or exists within hosts alone (mapped and compatible, RFC 4291; 6to4 by RFC 3964 section 5.3).
pub(super) fn is_martian(address: IpAddr) -> bool {
    let is_internal = matches!(address, IpAddr::V6(v6) if matches!(v6.segments(), [0, 0, 0, 0, 0, 0 | 0xffff, ..]));
    is_internal || is_never_forwarded(address) || embedded_v4(address).any(|v4| is_never_forwarded(v4.into()))
}

/// The IPv4 destinations that an IPv6 destination may stand for: mapped and compatible (RFC 4291), translated (RFC 2765),
/// 6to4 (RFC 3056), Teredo's client (RFC 4380), NAT64 (RFC 6052, RFC 8215) and ISATAP (RFC 5214).
pub(super) fn embedded_v4(address: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
    let v6 = match address {
        IpAddr::V6(v6) => Some(v6),
        IpAddr::V4(_) => None,
    };
    let direct = v6.and_then(|v6| carried_v4(v6.segments()));
    let isatap = v6.and_then(|v6| match v6.segments() {
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some(join(high, low)),
        _ => None,
    });
    // Networks choose the length of what they use within 64:ff9b:1::/48, so each that fits is taken seriously.
    let local_use = v6.filter(|v6| v6.segments()[..3] == [0x64, 0xff9b, 1]);
    let nat64 = local_use.into_iter().flat_map(|v6| {
        let prefix = move |length| Ipv6Net::new(v6, length).ok().and_then(Pref64::new);
        [48, 56, 64].into_iter().filter_map(move |length| prefix(length)?.extract(v6))
    });
    direct.into_iter().chain(isatap).chain(nat64)
}

fn carried_v4(segments: [u16; 8]) -> Option<Ipv4Addr> {
    match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => Some(join(high, low)),
        [0x64, 0xff9b, _, _, _, _, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        [0x2001, 0, _, _, _, _, high, low] => Some(join(!high, !low)),
        _ => None,
    }
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

fn matches_v4(address: Ipv4Addr, prefix: u32, length: u32) -> bool {
    (address.to_bits() ^ prefix) >> (32 - length) == 0
}

fn matches_v6(address: Ipv6Addr, (prefix, length): (u128, u32)) -> bool {
    (address.to_bits() ^ prefix) >> (128 - length) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn special_purpose_addresses_are_not_global() {
        for text in [
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.1",
            "100.100.100.200",
            "127.0.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.9",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_global_unicast(address(text)), "{text}");
        }
    }

    #[test]
    fn the_rest_is_global() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "168.63.129.17",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2a00::1",
            "3ffe::1",
        ] {
            assert!(is_global_unicast(address(text)), "{text}");
        }
    }

    #[test]
    fn embedded_destinations_are_found() {
        for text in [
            "::ffff:10.1.2.3",
            "::10.1.2.3",
            "::ffff:0:10.1.2.3",
            "64:ff9b::10.1.2.3",
            "64:ff9b:1::10.1.2.3",
            "64:ff9b:1:a01:2:300::",
            "64:ff9b:1:770a:1:203::",
            "64:ff9b:1:7788:a:102:300::",
            "2002:a01:203::1",
            "2001:0:1:2:3:4:f5fe:fdfc",
            "2606:4700::5efe:10.1.2.3",
            "2606:4700::200:5efe:10.1.2.3",
        ] {
            let found: Vec<_> = embedded_v4(address(text)).collect();
            assert!(found.contains(&Ipv4Addr::new(10, 1, 2, 3)), "{text}: {found:?}");
        }
        for text in ["10.1.2.3", "2606:4700::a01:203", "fd00::a01:203"] {
            assert_eq!(embedded_v4(address(text)).next(), None, "{text}");
        }
    }

    #[test]
    fn what_no_packet_comes_from() {
        for text in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::1", "ff02::1", "::ffff:8.8.8.8"] {
            assert!(is_martian(address(text)), "{text}");
        }
        assert!(is_martian(address("2002:7f00:1::1")) && !is_martian(address("2002:808:808::1")));
        assert!(!is_martian(address("10.0.0.1")) && !is_martian(address("fd00::1")));
    }
}
