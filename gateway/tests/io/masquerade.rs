//! The kernel's translation behind the NAT changes no port, and its timers decide nothing.

use crate::support::mirror::{Mirror, by_tcp, by_udp};
use crate::support::tunnel::Tunnel;
use crate::support::{Gateway, Scratch, block_on, other_machine, shell};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const OPEN: [&str; 4] =
    ["--listen", "127.0.0.1:0", "--set", "policy.rule=[{action=\"allow\",prefix=\"192.0.2.0/24\"}]"];

fn mirror(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), 7000)
}

isolated! {
    fn the_ports_of_many_flows_are_kept() {
        let scratch = Scratch::new("many");
        other_machine();
        let gateway = Gateway::start(&scratch.0, &OPEN);
        let _mirror = Mirror::start();
        block_on(async {
            let mut tunnels = [Tunnel::open(gateway.address).await, Tunnel::open(gateway.address).await];
            for tunnel in &mut tunnels {
                for _ in 0..40 {
                    by_tcp(tunnel, mirror("192.0.2.1")).await;
                }
            }
        });
        gateway.stop();
    }

    fn a_flow_that_a_socket_of_the_machine_has_already_is_not_moved_to_another_port() {
        let scratch = Scratch::new("clash");
        other_machine();
        shell("ip -n other addr add 192.0.2.2/24 dev peer0");
        let gateway = Gateway::start(&scratch.0, &OPEN);
        let _mirror = Mirror::start();
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            let first = by_udp(&mut tunnel, 0, mirror("192.0.2.2"), b"").await.expect("an answer");
            let own = UdpSocket::bind(first).expect("an explicit port, which no reservation keeps from a program");
            own.set_read_timeout(Some(Duration::from_secs(6))).expect("a timeout");
            own.connect(mirror("192.0.2.1")).expect("a route");
            own.send(b"").expect("it is sent");
            let mut told = [0; 64];
            let len = own.recv(&mut told).expect("the machine's own flow works");
            assert_eq!(told[..len], *format!("{} {}", first.ip(), first.port()).as_bytes());
            let same = by_udp(&mut tunnel, first.port(), mirror("192.0.2.1"), b"").await;
            assert_eq!(same, None, "the flow is the machine's, and a mapping has one port");
            let other = by_udp(&mut tunnel, first.port(), mirror("192.0.2.2"), b"").await;
            assert_eq!(other, Some(first), "the mapping serves all other destinations");
            own.send(b"").expect("it is sent");
            assert!(own.recv(&mut told).is_ok(), "the machine's own flow goes on");
        });
        gateway.stop();
    }

    fn a_mapping_that_the_kernel_has_forgotten_still_takes_arrivals() {
        let scratch = Scratch::new("forgotten");
        other_machine();
        let gateway = Gateway::start(&scratch.0, &OPEN);
        shell(
            "echo 1 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout
             echo 1 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream",
        );
        let _mirror = Mirror::start();
        block_on(async {
            let mut tunnel = Tunnel::open(gateway.address).await;
            let first = by_udp(&mut tunnel, 0, mirror("192.0.2.1"), b"later").await.expect("an answer, after four seconds");
            let again = by_udp(&mut tunnel, first.port(), mirror("192.0.2.1"), b"").await;
            assert_eq!(again, Some(first), "what goes out of the flow that has come in keeps the endpoint");
        });
        gateway.stop();
    }
}
