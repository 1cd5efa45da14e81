//! 32 MiB both ways through a real gateway and its TUN device, in super-segments, over both families; and cut by the
//! gateway where its device takes none.

use webtun_tests::lab::{Lab, REMOTE};
use webtun_tests::process::{run_with_input, succeed};

const PREFIX: &str = "wt-off";
const LEN: u64 = 32 << 20;

fn packets(lab: &Lab, counter: &str) -> u64 {
    let path = format!("/sys/class/net/webtun0/statistics/{counter}");
    lab.gateway.exec("cat", &[&path]).trim().parse().expect("a number")
}

/// Moves a file there and back; gives the packets that the device has taken from the gateway, and given to it.
fn there_and_back(lab: &Lab, remote: &str) -> (u64, u64) {
    let host = if remote.contains(':') { format!("[{remote}]") } else { remote.to_owned() };
    let file = lab.file("blob");
    let hash = succeed(lab.tool("webtun-get").arg(format!("http://{host}/sha256?size={LEN}")));
    let mut get = lab.tool("webtun-get");
    get.arg("--sha256").arg("--output").arg(&file).arg(format!("http://{host}/blob?size={LEN}"));
    let before = packets(lab, "tx_packets");
    assert_eq!(succeed(&mut get).trim(), hash.trim());
    let down = packets(lab, "tx_packets") - before;

    let data = std::fs::read(&file).expect("it was written");
    let before = packets(lab, "rx_packets");
    // Port 8 answers after the end of what it has read.
    let output = run_with_input(lab.tool("webtun-nc").args(["-N", remote, "8"]), &data);
    let receipt = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(receipt.contains(&format!(r#""octets":{LEN}"#)) && receipt.contains(hash.trim()), "{receipt}");
    (packets(lab, "rx_packets") - before, down)
}

#[test]
fn super_segments_carry_both_families_whole() {
    let Some(lab) = Lab::start_if_available(PREFIX, &[]) else { return };
    for remote in REMOTE {
        let (up, down) = there_and_back(&lab, remote);
        // ACKs included; in segments it would be some 23,000 each.
        assert!(up < 6000 && down < 10_000, "{remote}: {up} up, {down} down");
    }
}

#[test]
fn a_device_without_offload_gets_segments() {
    let Some(lab) = Lab::start_if_available(PREFIX, &["--set", "tun.offload=false"]) else { return };
    for remote in REMOTE {
        let (up, down) = there_and_back(&lab, remote);
        assert!(up > LEN / 1500 && down > LEN / 1500, "{remote}: {up} up, {down} down");
    }
}
