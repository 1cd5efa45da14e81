//! The table `inet webtun`: masquerade with ports kept, and the clients' ports passed through to the TUN device.

use super::command::run;
use super::{OnDevice, Plan, SetupError};
use crate::config::{ExternalMode, PortRange};
use std::fmt::{Display, Write};

/// Replaces the table in one transaction.
///
/// # Errors
/// Where `nft` is missing, not permitted, or does not take the rules.
pub(super) fn install(plan: &Plan) -> Result<(), SetupError> {
    match run("nft", &["-f", "-"], &script(plan, true)) {
        // A kernel without the `socket` expression: the rule only spares the host's own servers in the range.
        Err(SetupError::Command { message, .. }) if message.contains("socket wildcard") => {
            tracing::warn!("nft has no `socket` expression here: servers of this host in the port range are shadowed");
            run("nft", &["-f", "-"], &script(plan, false)).map(drop)
        }
        other => other.map(drop),
    }
}

/// True where the table exists.
pub(super) fn exists() -> Result<bool, SetupError> {
    match run("nft", &["list", "table", "inet", "webtun"], "") {
        Ok(_) => Ok(true),
        Err(SetupError::Command { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Removes the table; that there is none is no error.
pub(super) fn remove() -> Result<(), SetupError> {
    run("nft", &["-f", "-"], "add table inet webtun\ndelete table inet webtun\n").map(drop)
}

fn script(plan: &Plan, spare_sockets: bool) -> String {
    // `add` before `delete` makes the deletion succeed whether or not a table was left by a crash.
    let mut out = "add table inet webtun\ndelete table inet webtun\ntable inet webtun {\n".to_owned();
    let mut line = |text: &str| {
        let written = writeln!(out, "  {text}");
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    };
    forward_chain(plan, &mut line);
    if plan.mode == ExternalMode::Masquerade {
        input_chain(plan, &mut line);
        nat_chains(plan, spare_sockets, &mut line);
    }
    out.push_str("}\n");
    out
}

/// Keeps foreign sources from leaving by the device, and flows from entering it that neither a client nor the port
/// range has asked for. A packet that conntrack finds invalid would pass the NAT untranslated.
fn forward_chain(plan: &Plan, line: &mut impl FnMut(&str)) {
    line("chain forward {");
    line("  type filter hook forward priority filter; policy accept;");
    for device in &plan.devices {
        let tun = &device.name;
        match addresses(&device.ipv4) {
            Some(ours) => line(&format!("  iifname \"{tun}\" ip saddr != {ours} drop")),
            None => line(&format!("  iifname \"{tun}\" meta nfproto ipv4 drop")),
        }
        match (addresses(&device.ipv6), device.ipv6_prefix) {
            (Some(ours), _) => line(&format!("  iifname \"{tun}\" ip6 saddr != {ours} drop")),
            (None, Some(prefix)) => {
                // Routed, whatever becomes of IPv4: what may come in is the gateway's to say.
                line(&format!("  iifname \"{tun}\" ip6 saddr != {prefix} drop"));
                line(&format!("  iifname \"{tun}\" ip6 saddr {prefix} accept"));
                line(&format!("  oifname \"{tun}\" ip6 daddr {prefix} accept"));
            }
            (None, None) => line(&format!("  iifname \"{tun}\" meta nfproto ipv6 drop")),
        }
    }
    if plan.mode == ExternalMode::Masquerade {
        let tun = plan.names();
        line(&format!("  iifname {tun} ct state invalid drop"));
        line(&format!("  oifname {tun} ct status dnat accept"));
        line(&format!("  oifname {tun} ct state established,related accept"));
        line(&format!("  oifname {tun} drop"));
    }
    line("}");
}

/// The host side address is for answers to the host's own connections; nobody begins one there.
fn input_chain(plan: &Plan, line: &mut impl FnMut(&str)) {
    let tun = plan.names();
    line("chain input {");
    line("  type filter hook input priority filter; policy accept;");
    line(&format!("  iifname {tun} ct state established,related accept"));
    for address in plan.host_side() {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        line(&format!("  iifname {tun} {family} daddr {address} drop"));
    }
    line("}");
}

fn nat_chains(plan: &Plan, spare_sockets: bool, line: &mut impl FnMut(&str)) {
    let tun = plan.names();
    line("chain mapped {");
    if plan.ports.contains(plan.listen_port) {
        line(&format!("  tcp dport {} return", plan.listen_port));
    }
    for device in &plan.devices {
        let PortRange { first, last } = device.ports;
        let range = format!("meta l4proto {{ tcp, udp }} th dport {first}-{last}");
        pass_through(&device.ipv4, "ip", &range, line);
        pass_through(&device.ipv6, "ip6", &range, line);
    }
    line("}");
    line("chain prerouting {");
    line("  type nat hook prerouting priority dstnat; policy accept;");
    line(&format!("  iifname {tun} return"));
    if spare_sockets {
        line("  socket wildcard { 0, 1 } return");
    }
    line("  fib daddr type local jump mapped");
    line("}");
    // The host's own processes reach mapped ports at the host's addresses too, and come from the host side address: an
    // announced address as their source would be taken for a client's. Loopback addresses stay out: their packets may
    // not leave by another device.
    line("chain output {");
    line("  type nat hook output priority -100; policy accept;");
    line("  ip daddr 127.0.0.0/8 return");
    line("  ip6 daddr ::1 return");
    line("  fib daddr type local jump mapped");
    line("}");
    // By source and not by incoming device, which this hook does not know before Linux 5.7.
    line("chain postrouting {");
    line("  type nat hook postrouting priority srcnat; policy accept;");
    for address in plan.host_side() {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let nfproto = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        let from_here = format!("oifname {tun} meta nfproto {nfproto} fib saddr type local");
        line(&format!("  {from_here} snat {family} to {address}"));
    }
    for device in &plan.devices {
        translate(&device.ipv4, "ip", &tun, line);
        translate(&device.ipv6, "ip6", &tun, line);
    }
    line("}");
}

/// A set of the NAT's addresses of a family, where there are any.
fn addresses<A: Display>(ours: &[OnDevice<A>]) -> Option<String> {
    let list: Vec<_> = ours.iter().map(|it| it.address.to_string()).collect();
    (!list.is_empty()).then(|| format!("{{ {} }}", list.join(", ")))
}

/// A map between the machine's addresses and the NAT's, where the machine's are given.
fn pairs<A: Copy + Display>(ours: &[OnDevice<A>], pair: impl Fn(A, A) -> (A, A)) -> Option<String> {
    let given = ours.iter().filter_map(|it| Some(pair(it.machine?, it.address)));
    let list: Vec<_> = given.map(|(from, to)| format!("{from} : {to}")).collect();
    (!list.is_empty()).then(|| format!("map {{ {} }}", list.join(", ")))
}

/// Destinations in the clients' range become the NAT's address. `family` is "ip" or "ip6".
fn pass_through<A: Copy + Display>(ours: &[OnDevice<A>], family: &str, range: &str, line: &mut impl FnMut(&str)) {
    match (pairs(ours, |machine, address| (machine, address)), ours) {
        (Some(map), _) => line(&format!("  {range} dnat {family} to {family} daddr {map}")),
        (None, [only, ..]) => {
            let nfproto = if family == "ip" { "ipv4" } else { "ipv6" };
            line(&format!("  meta nfproto {nfproto} {range} dnat {family} to {}", only.address));
        }
        (None, []) => {}
    }
}

/// Sources become the machine's address. With the port named, the kernel keeps it even where a socket of the machine has
/// the same flow: the client's packet is lost then. By default it would take another port, and the mapping would depend on
/// the destination (RFC 4787 REQ-1). The identifiers of ICMP cannot be named.
fn translate<A: Copy + Display>(ours: &[OnDevice<A>], family: &str, tun: &str, line: &mut impl FnMut(&str)) {
    let Some(set) = addresses(ours) else { return };
    let from_clients = format!("{family} saddr {set} oifname != {tun}");
    match pairs(ours, |machine, address| (address, machine)) {
        Some(map) => {
            let snat = format!("snat {family} to {family} saddr {map}");
            line(&format!("  {from_clients} meta l4proto {{ tcp, udp }} {snat} : th sport"));
            line(&format!("  {from_clients} {snat}"));
        }
        None => {
            line(&format!("  {from_clients} meta l4proto {{ tcp, udp }} masquerade to :th sport"));
            line(&format!("  {from_clients} masquerade"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::egress::plan::Device;

    fn plan(mode: ExternalMode) -> Plan {
        let ports = PortRange { first: 16384, last: 65535 };
        let ipv4 = vec![OnDevice { place: 0, address: [100, 127, 255, 1].into(), machine: None }];
        let device = Device { name: "webtun0".to_owned(), ipv4, ipv6: Vec::new(), ipv6_prefix: None, ports };
        Plan { mode, devices: vec![device], ipv6_prefix: None, ports, listen_port: 20000 }
    }

    #[test]
    fn the_listener_is_spared() {
        let script = script(&plan(ExternalMode::Masquerade), true);
        let spared = script.find("tcp dport 20000 return").expect("the listener has a rule");
        assert!(spared < script.find("dnat ip to").expect("ports are passed through"), "{script}");
    }

    #[test]
    fn a_family_that_is_off_has_no_nat() {
        let script = script(&plan(ExternalMode::Masquerade), true);
        assert!(!script.contains("dnat ip6"), "{script}");
        assert!(script.contains("meta nfproto ipv6 drop"), "{script}");
    }

    #[test]
    fn a_prefix_is_routed_beside_a_masqueraded_family() {
        let mut plan = plan(ExternalMode::Masquerade);
        plan.devices[0].ipv6_prefix = Some("2001:db8:7:1::/64".parse().expect("a prefix"));
        let script = script(&plan, true);
        let accepted = script.find("ip6 daddr 2001:db8:7:1::/64 accept").expect("packets come in");
        assert!(accepted < script.find("oifname \"webtun0\" drop").expect("others do not"), "{script}");
        assert!(script.contains("ip6 saddr != 2001:db8:7:1::/64 drop") && !script.contains("dnat ip6"), "{script}");
    }

    #[test]
    fn each_of_several_addresses_becomes_its_own_one_of_the_machine() {
        let mut plan = plan(ExternalMode::Masquerade);
        let pair = |last| OnDevice {
            place: usize::from(last) - 1,
            address: [100, 127, 255, last].into(),
            machine: Some([192, 0, 2, last].into()),
        };
        plan.devices[0].ipv4 = vec![pair(1), pair(2)];
        let script = script(&plan, true);
        for part in [
            "ip saddr != { 100.127.255.1, 100.127.255.2 } drop",
            "dnat ip to ip daddr map { 192.0.2.1 : 100.127.255.1, 192.0.2.2 : 100.127.255.2 }",
            "snat ip to ip saddr map { 100.127.255.1 : 192.0.2.1, 100.127.255.2 : 192.0.2.2 } : th sport",
            "snat ip to 100.127.255.3",
        ] {
            assert!(script.contains(part), "{part} is missing: {script}");
        }
    }

    #[test]
    fn shards_have_the_packets_of_their_ports() {
        let mut plan = plan(ExternalMode::Masquerade);
        let mut second = plan.devices[0].clone();
        second.name = "webtun0-1".to_owned();
        second.ipv4[0].address = [100, 127, 255, 3].into();
        plan.devices[0].ports.last = 40959;
        second.ports.first = 40960;
        plan.devices.push(second);
        let script = script(&plan, true);
        for part in [
            "iifname \"webtun0\" ip saddr != { 100.127.255.1 } drop",
            "iifname \"webtun0-1\" ip saddr != { 100.127.255.3 } drop",
            "th dport 16384-40959 dnat ip to 100.127.255.1",
            "th dport 40960-65535 dnat ip to 100.127.255.3",
            "ip saddr { 100.127.255.3 } oifname != { \"webtun0\", \"webtun0-1\" } meta l4proto { tcp, udp } masquerade",
            "snat ip to 100.127.255.2",
        ] {
            assert!(script.contains(part), "{part} is missing: {script}");
        }
    }

    #[test]
    fn routed_mode_translates_nothing() {
        let script = script(&plan(ExternalMode::Routed), true);
        assert!(!script.contains("nat"), "{script}");
    }
}
