//! Several external addresses: each session has one for all it does, and the kernel leaves ports and addresses alone.

use crate::support::mirror::{Mirror, by_tcp, by_udp};
use crate::support::tunnel::Tunnel;
use crate::support::{Gateway, Scratch, block_on, command, failure, other_machine, shell, there};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use webtun_stack::{Event, SocketEvent};

const RULES: [&str; 4] = [
    "--listen",
    "127.0.0.1:0",
    "--set",
    "policy.rule=[{action=\"allow\",prefix=\"192.0.2.0/24\"},{action=\"allow\",prefix=\"198.51.100.0/24\"},\
     {action=\"allow\",prefix=\"2001:db8::/32\"}]",
];

/// A mapped port, reached from the other machine.
async fn is_reached(tunnel: &mut Tunnel, address: IpAddr) {
    let (external, listener) = tunnel.listen(address.is_ipv6()).await;
    assert_eq!(external.ip(), address, "it is mapped at the session's address");
    let mut caller = there(&format!("nc -w 5 {} {} < /dev/null", external.ip(), external.port()));
    tunnel
        .until(|_, event| matches!(event, Event::Socket(SocketEvent::TcpIncoming(of)) if of == listener).then_some(()))
        .await;
    caller.kill().expect("it runs");
    caller.wait().expect("it ends");
    let now = tunnel.now();
    tunnel.stack.close(listener, now);
}

/// Opens so many sessions, and counts by address what each of them is seen as, in all it does.
async fn sessions(gateway: &Gateway, count: usize, remotes: &[&str]) -> BTreeMap<IpAddr, usize> {
    let mut seen = BTreeMap::new();
    let mut open = Vec::new();
    for _ in 0..count {
        let mut tunnel = Tunnel::open(gateway.address).await;
        for ipv6 in [false, true] {
            let mut of_session = Vec::new();
            for remote in remotes
                .iter()
                .map(|text| SocketAddr::new(address(text), 7000))
                .filter(|remote| remote.is_ipv6() == ipv6)
            {
                of_session.push(by_udp(&mut tunnel, 0, remote, b"").await.expect("an answer").ip());
                of_session.push(by_tcp(&mut tunnel, remote).await.ip());
            }
            let Some(first) = of_session.first().copied() else { continue };
            assert!(of_session.iter().all(|address| *address == first), "paired pooling: {of_session:?}");
            is_reached(&mut tunnel, first).await;
            *seen.entry(first).or_insert(0) += 1;
        }
        open.push(tunnel);
    }
    seen
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn state() -> String {
    // Whether the other end of a link is up already is not the gateway's doing.
    shell(
        "nft list ruleset
         ip -o address | grep -o ' inet.*/[0-9]*'
         (ip route; ip -6 route) | sed 's/ linkdown//'
         grep . /proc/sys/net/ipv4/ip_local_*port*",
    )
}

isolated! {
    fn sessions_are_spread_over_four_routed_addresses_and_stay_on_theirs() {
        let scratch = Scratch::new("pool-routed");
        other_machine();
        shell(
            "ip netns exec other ip route add 198.51.100.0/29 via 192.0.2.7
             ip netns exec other ip route add 2001:db8:51::/64 via 2001:db8::7
             ip -n other addr add 192.0.2.2/24 dev peer0",
        );
        let before = state();
        let flags = [
            &RULES[..],
            &["--set", "external.mode=routed", "--set", "external.ipv4=[\"198.51.100.2/31\",\"198.51.100.1\",\"198.51.100.4\"]"],
            &["--set", "external.ipv6=2001:db8:51::4/127"],
        ];
        let gateway = Gateway::start(&scratch.0, &flags.concat());
        let _mirror = Mirror::start();
        let seen = block_on(sessions(&gateway, 8, &["192.0.2.1", "192.0.2.2", "2001:db8::1"]));
        let four = (1..=4).map(|last| (IpAddr::from([198, 51, 100, last]), 2));
        let two = ["2001:db8:51::4", "2001:db8:51::5"].map(|text| (address(text), 4));
        assert_eq!(seen, four.chain(two).collect());
        gateway.stop();
        assert_eq!(state(), before);
    }

    fn each_address_is_masqueraded_as_one_of_the_machines() {
        let scratch = Scratch::new("pool-masquerade");
        other_machine();
        shell(
            "ip addr add 192.0.2.8/24 dev eth0
             ip addr add 192.0.2.9/24 dev eth0",
        );
        let before = state();
        let flags = [
            &RULES[..],
            &["--set", "external.ipv4=[\"100.127.255.1\",\"100.127.255.2\"]"],
            &["--set", "external.machine_ipv4=[\"192.0.2.9\",\"192.0.2.8\"]"],
        ];
        let gateway = Gateway::start(&scratch.0, &flags.concat());
        let _mirror = Mirror::start();
        let seen = block_on(sessions(&gateway, 4, &["192.0.2.1", "2001:db8::1"]));
        let expected = [("192.0.2.8", 2), ("192.0.2.9", 2), ("2001:db8::7", 4)];
        assert_eq!(seen, expected.map(|(text, count)| (address(text), count)).into());
        gateway.stop();
        assert_eq!(state(), before);
    }

    fn an_address_that_is_not_the_machines_is_refused() {
        let scratch = Scratch::new("pool-foreign");
        let before = state();
        let wrong = ["--listen", "127.0.0.1:0", "--set", "external.machine_ipv4=192.0.2.99"];
        let error = failure(command(&scratch.0, &wrong));
        assert!(error.contains("external.machine_ipv4") && error.contains("192.0.2.99 is not an address"), "{error}");
        assert_eq!(state(), before);
    }
}
