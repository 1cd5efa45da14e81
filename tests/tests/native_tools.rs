//! The native tools over a real gateway, in network namespaces.

use std::process::{Command, Output, Stdio};

use webtun_tests::lab::{Lab, OUTSIDE, REMOTE};
use webtun_tests::pattern;
use webtun_tests::process::{Daemon, Log, run_with_input, succeed};

const PREFIX: &str = "wt-nat";

fn lab() -> Option<Lab> {
    Lab::start_if_available(PREFIX, &[])
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[track_caller]
fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
}

/// What the remote's kernel, which is a stack that is not ours, sends and receives.
fn remote_nc(lab: &Lab, flags: &[&str], external: &str) -> Command {
    let (address, port) = external.rsplit_once(':').expect("an address and a port");
    let mut command = lab.remote.command("nc");
    command.args(flags).args([address, port]);
    command
}

#[test]
fn ping_reaches_both_families_and_tells_silence_from_answers() {
    let Some(lab) = lab() else { return };
    for remote in REMOTE {
        let printed = succeed(lab.tool("webtun-ping").args(["-c", "3", "-i", "0.05", "-s", "1000", remote]));
        assert!(printed.contains("3 sent, 3 received"), "{printed}");
        assert!(printed.contains(&format!("1000 octets from {remote}: seq=1")), "{printed}");
    }
    let printed = succeed(lab.tool("webtun-ping").args(["-4", "-c", "1", "www.playground.test"]));
    assert!(printed.contains("PING www.playground.test (198.18.0.2)"), "{printed}");

    let nobody = lab.tool("webtun-ping").args(["-c", "1", "-W", "30", "198.18.0.77"]).output().expect("it starts");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stdout).contains("host unreachable"), "{}", text(&nobody.stdout));
}

#[test]
fn get_downloads_whole_over_http_and_https() {
    let Some(lab) = lab() else { return };
    let size = "size=3000000";
    let hash = succeed(lab.tool("webtun-get").arg(format!("http://www.playground.test/sha256?{size}")));
    for scheme in ["http", "https"] {
        let file = lab.file("blob");
        let mut get = lab.tool("webtun-get");
        get.arg("--cacert").arg(lab.authority()).arg("--sha256").arg("--output").arg(&file);
        let printed = succeed(get.arg(format!("{scheme}://www.playground.test/blob?{size}")));
        assert_eq!(printed.trim(), hash.trim());
        assert_eq!(std::fs::metadata(&file).map(|metadata| metadata.len()).ok(), Some(3_000_000));
    }
    let missing = lab.tool("webtun-get").arg("http://www.playground.test/nothing").output().expect("it starts");
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn nc_half_closes_and_goes_on_reading() {
    let Some(lab) = lab() else { return };
    let sent = pattern::octets(1, 500_000);
    // Port 8 answers after the end of what it has read.
    let output = run_with_input(lab.tool("webtun-nc").args(["-N", "www.playground.test", "8"]), &sent);
    assert_success(&output);
    assert!(text(&output.stdout).contains(r#""octets":500000"#), "{}", text(&output.stdout));

    let echoed = run_with_input(lab.tool("webtun-nc").args(["-N", "echo.playground.test", "7"]), &sent);
    assert_success(&echoed);
    assert_eq!(echoed.stdout.len(), sent.len());
    assert_eq!(pattern::mismatch(1, 0, &echoed.stdout), None);
}

#[test]
fn nc_exchanges_datagrams() {
    let Some(lab) = lab() else { return };
    for remote in REMOTE {
        let sent = pattern::octets(2, 20_000);
        let output = run_with_input(lab.tool("webtun-nc").args(["-u", "-w", "3", remote, "7"]), &sent);
        assert_success(&output);
        assert_eq!(output.stdout, sent);
    }
}

#[test]
fn each_failure_has_words_of_its_own() {
    let Some(lab) = lab() else { return };
    let cases: [(&[&str], &str); 7] = [
        (&["www.playground.test", "1"], "connection refused"),
        (&["www.playground.test", "5"], "connection reset by peer"),
        (&["198.18.0.77", "7"], "host unreachable"),
        (&["10.81.0.2", "7"], "denied by policy"),
        (&["nothing.playground.test", "7"], "name not found"),
        (&["--token", "wrong", "www.playground.test", "7"], "refused by the gateway"),
        (&["--url", "ws://10.81.0.1:9/", "www.playground.test", "7"], "no connection to the gateway"),
    ];
    for (arguments, words) in cases {
        let output = run_with_input(lab.tool("webtun-nc").arg("-N").args(arguments), b"x");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(words), "{arguments:?}: {}", text(&output.stderr));
    }
}

/// Starts `webtun-nc` as a listener that is given `input`, lets the remote connect, and gives both sides' output.
fn exchange_inbound(lab: &Lab, listener: &[&str], caller: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let mut command = lab.tool("webtun-nc");
    command.args(listener).stdout(Stdio::piped());
    let announced = Log::of(&mut command, lab.file("announced"));
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            let child = command.stdin(Stdio::piped()).spawn().expect("it starts");
            send_and_wait(child, b"from inside")
        });
        let line = announced.wait_for("external ", 1);
        let (_, external) = line.split_once("external ").expect("it was waited for");
        assert!(external.starts_with(OUTSIDE), "{external}");
        let outside = run_with_input(&mut remote_nc(lab, caller, external), b"from outside");
        (inside.join().expect("the thread ends"), outside.stdout)
    })
}

fn send_and_wait(mut child: std::process::Child, input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    child.stdin.take().expect("standard input was asked for").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", output.status);
    output.stdout
}

#[test]
fn a_mapped_port_takes_connections_from_outside() {
    let Some(lab) = lab() else { return };
    let (inside, outside) = exchange_inbound(&lab, &["-l", "-N", "8000", "--external"], &["-N", "-w", "30"]);
    assert_eq!(text(&inside), "from outside");
    assert_eq!(text(&outside), "from inside");
}

#[test]
fn a_mapped_port_takes_datagrams_from_outside() {
    let Some(lab) = lab() else { return };
    let (inside, outside) = exchange_inbound(&lab, &["-l", "-u", "-w", "4", "8000", "--external"], &["-u", "-w", "3"]);
    assert_eq!(text(&inside), "from outside");
    assert_eq!(text(&outside), "from inside");
}

#[test]
fn attach_lets_the_kernel_speak_through_the_tunnel() {
    let Some(lab) = lab() else { return };
    let mut command = lab.tool("webtun-attach");
    command.args(["--route", "198.18.0.0/24", "--route", "2001:2::/48", "--route", "100.64.0.1/32"]);
    let mut attach = Daemon::start(&mut command);
    attach.wait_for_line("ready webtun-c0 100.64.");
    for target in ["198.18.0.2", "2001:2::2", "100.64.0.1"] {
        lab.client.exec("ping", &["-c", "2", "-i", "0.1", "-W", "20", target]);
    }
    for host in ["198.18.0.2", "[2001:2::2]"] {
        let url = |path: &str| format!("http://{host}/{path}?size=3000000");
        let hash = lab.client.exec("curl", &["-gsS", "-m", "120", &url("sha256")]);
        let file = lab.file("blob");
        let path = file.to_str().expect("the folder's name is text");
        lab.client.exec("curl", &["-gsS", "-m", "120", "-o", path, &url("blob")]);
        assert!(succeed(Command::new("sha256sum").arg(path)).starts_with(hash.trim()));
    }
    for reverse in [&[][..], &["-R"]] {
        lab.client.exec("iperf3", &[&["-c", "198.18.0.2", "-n", "5M"], reverse].concat());
    }
    assert_eq!(attach.stop(), Some(0));
    assert!(!lab.client.ip(&["link"]).contains("webtun-c0"));
    assert!(!lab.client.ip(&["-6", "route"]).contains("2001:2::/48"));
}

#[test]
fn attach_refuses_to_swallow_its_own_connection() {
    let Some(lab) = lab() else { return };
    let output = lab.tool("webtun-attach").args(["--route", "10.81.0.1/32"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("leads the tunnel's own connection"), "{}", text(&output.stderr));
    assert!(!lab.client.ip(&["link"]).contains("webtun-c0"));
}
