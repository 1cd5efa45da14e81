//! What the gateway changes on the machine, and that nothing of it stays.

use crate::support::{Client, GATEWAY, Gateway, Scratch, block_on, command, failure, shell};
use std::io::Read;
use std::process::Command;

const LOCAL: [&str; 4] = ["--egress", "tun", "--listen", "127.0.0.1:0"];

/// Everything that a gateway could leave behind.
fn state() -> String {
    shell(
        "cd /proc/sys/net
         grep -r . ipv4/ip_forward ipv4/ip_local_port_range ipv4/ip_local_reserved_ports ipv4/tcp_tw_reuse \
             ipv6/conf/all/forwarding ipv6/conf/eth0/accept_ra ipv6/conf/default/accept_ra || true
         nft list ruleset
         ip -brief link
         ip route
         ip -6 route",
    )
}

fn files(scratch: &Scratch) -> Vec<String> {
    let entries = std::fs::read_dir(scratch.0.join("runtime_dir")).expect("the folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

isolated! {
    fn the_device_is_made_and_everything_is_removed_in_the_end() {
        let scratch = Scratch::new("removed");
        shell("echo 8080,9148 > /proc/sys/net/ipv4/ip_local_reserved_ports");
        let before = state();
        let gateway = Gateway::start(&scratch.0, &LOCAL);
        let during = state();
        for part in [
            "webtun0",
            "100.127.255.1 dev webtun0",
            "fd77:6562:7475:ffff::1 dev webtun0",
            "table inet webtun",
            "ip_forward:1",
            "forwarding:1",
            "accept_ra:2",
            "8080,9148,16384-65535",
            "tcp_tw_reuse:1",
        ] {
            assert!(during.contains(part), "{part} is missing: {during}");
        }
        assert!(shell("cat /sys/class/net/webtun0/mtu 2>/dev/null || ip link show webtun0").contains("65535"));
        gateway.stop();
        assert_eq!(state(), before);
        assert_eq!(files(&scratch), Vec::<String>::new());
    }

    fn what_a_crash_leaves_is_removed_by_the_next_gateway() {
        let scratch = Scratch::new("crash");
        let before = state();
        Gateway::start(&scratch.0, &LOCAL).crash();
        assert!(state().contains("table inet webtun"), "a crash leaves the table");
        let gateway = Gateway::start(&scratch.0, &LOCAL);
        block_on(Client::open(gateway.address));
        let errors = gateway.stop();
        assert!(errors.contains("ended without cleaning up"), "{errors}");
        assert_eq!(state(), before);
    }

    fn what_a_crash_leaves_is_removed_by_a_start_that_fails() {
        let scratch = Scratch::new("crash-fail");
        let before = state();
        Gateway::start(&scratch.0, &LOCAL).crash();
        let programs = scratch.0.join("bin");
        shell(&format!("mkdir {0} && ln -s $(command -v nft) {0}/nft", programs.display()));
        let mut without_ip = command(&scratch.0, &LOCAL);
        without_ip.env("PATH", &programs);
        let error = failure(without_ip);
        assert!(error.contains("apt install iproute2"), "{error}");
        assert_eq!(state(), before);
    }

    fn ports_for_one_destination_do_not_run_out() {
        let scratch = Scratch::new("ports");
        let gateway = Gateway::start(&scratch.0, &LOCAL);
        shell("ip address add 198.51.100.1/32 dev lo");
        let listener = std::net::TcpListener::bind("198.51.100.1:0").expect("a listener");
        let remote = listener.local_addr().expect("bound");
        // More than there are below the clients' range. The side that closes first is the one whose port rests.
        for count in 0..7000 {
            if count == 3500 {
                // Linux takes a port whose connection ended a second ago at the soonest, counted in whole seconds.
                std::thread::sleep(std::time::Duration::from_secs(2));
            }
            let connected = std::net::TcpStream::connect(remote);
            drop(connected.unwrap_or_else(|error| panic!("connection {count}: {error}")));
            let (mut accepted, _) = listener.accept().expect("a connection");
            assert_eq!(accepted.read(&mut [0]).ok(), Some(0));
        }
        gateway.stop();
    }

    fn values_that_someone_else_has_set_meanwhile_stay() {
        let scratch = Scratch::new("meanwhile");
        let gateway = Gateway::start(&scratch.0, &LOCAL);
        shell("echo 20000 30000 > /proc/sys/net/ipv4/ip_local_port_range");
        gateway.stop();
        assert_eq!(shell("cat /proc/sys/net/ipv4/ip_local_port_range").split_whitespace().next(), Some("20000"));
    }

    fn notes_of_a_namespace_that_is_gone_are_thrown_away() {
        let scratch = Scratch::new("stale");
        Gateway::start(&scratch.0, &LOCAL).crash();
        shell("nft delete table inet webtun; echo 0 > /proc/sys/net/ipv4/ip_forward");
        shell("echo 12000 13000 > /proc/sys/net/ipv4/ip_local_port_range");
        Gateway::start(&scratch.0, &["--listen", "127.0.0.1:0", "--set", "external.mode=routed"]).stop();
        assert!(shell("cat /proc/sys/net/ipv4/ip_local_port_range").starts_with("12000"));
    }

    fn a_port_in_use_is_told_before_anything_is_changed() {
        let scratch = Scratch::new("port");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = taken.local_addr().expect("an address").to_string();
        let before = state();
        let error = failure(command(&scratch.0, &["--listen", &address]));
        assert!(error.contains(&address) && error.contains("in use") && error.contains("--listen"), "{error}");
        assert_eq!(state(), before);
    }

    fn a_second_gateway_in_the_same_namespace_is_refused() {
        let scratch = Scratch::new("second");
        let gateway = Gateway::start(&scratch.0, &LOCAL);
        let second = [&LOCAL[..], &["--set", "admin=off"]].concat();
        let error = failure(command(&scratch.0, &second));
        assert!(error.contains("in use") && error.contains("tun.name"), "{error}");
        let error = failure(command(&scratch.0, &[&second[..], &["--set", "tun.name=webtun1"]].concat()));
        assert!(error.contains("another webtun-gateway"), "{error}");
        block_on(Client::open(gateway.address));
        gateway.stop();
    }

    fn a_missing_device_file_is_explained() {
        let scratch = Scratch::new("no-tun");
        shell("mkdir -p /tmp/no-tun && mount --bind /tmp/no-tun /dev/net; rmdir /tmp/no-tun 2>/dev/null || true");
        let error = failure(command(&scratch.0, &LOCAL));
        assert!(error.contains("/dev/net/tun") && error.contains("--device"), "{error}");
    }

    fn missing_privilege_is_explained() {
        let scratch = Scratch::new("privilege");
        shell(&format!("chmod 777 {}", scratch.0.display()));
        let inner = command(&scratch.0, &LOCAL);
        // A copy that nobody can reach; the build folder may be the owner's alone.
        let copy = scratch.0.join("webtun-gateway");
        std::fs::copy(GATEWAY, &copy).expect("a copy");
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
        nobody.arg(copy).args(inner.get_args());
        let error = failure(nobody);
        for part in ["CAP_NET_ADMIN", "sudo", "--cap-add NET_ADMIN"] {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }

    fn without_privilege_sockets_do_and_nothing_is_changed() {
        let scratch = Scratch::new("sockets");
        shell(&format!("chmod 777 {}", scratch.0.display()));
        let before = state();
        let copy = scratch.0.join("webtun-gateway");
        std::fs::copy(GATEWAY, &copy).expect("a copy");
        let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all";
        let script = format!("timeout -s TERM 5 {nobody} {} --listen 127.0.0.1:0 2>&1 || true", copy.display());
        let printed = shell(&script);
        assert!(printed.contains("listening on http://127.0.0.1:"), "{printed}");
        let told: Vec<_> = printed.lines().filter(|line| line.contains(" egress: ")).collect();
        assert!(matches!(told[..], [line] if line.contains("egress: user") && line.contains("CAP_NET_ADMIN")), "{printed}");
        assert_eq!(state(), before);
    }

    fn a_missing_program_is_explained() {
        let scratch = Scratch::new("no-nft");
        let before = state();
        let mut without = command(&scratch.0, &LOCAL);
        without.env("PATH", "/nonexistent");
        let error = failure(without);
        assert!(error.contains("`nft`") && error.contains("apt install nftables"), "{error}");
        assert_eq!(state(), before);
    }

    fn a_folder_that_cannot_be_written_is_explained() {
        let scratch = Scratch::new("runtime");
        let error = failure(command(&scratch.0, &[&LOCAL[..], &["--set", "runtime_dir=/proc/webtun"]].concat()));
        assert!(error.contains("runtime_dir"), "{error}");
    }
}
