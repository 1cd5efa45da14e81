//! Connections that the gateway makes with sockets of its own (streams), over a real gateway in network namespaces.

use webtun_tests::lab::{Lab, OUTSIDE, REMOTE};
use webtun_tests::pattern;
use webtun_tests::process::run_with_input;

const PREFIX: &str = "wt-split";

fn lab(flags: &[&str]) -> Option<Lab> {
    Lab::start_if_available(PREFIX, flags)
}

fn split(lab: &Lab, arguments: &[&str], input: &[u8]) -> std::process::Output {
    run_with_input(lab.tool("webtun-nc").args(["-N", "--split"]).args(arguments), input)
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn octets_come_back_whole_and_half_close_works_both_ways() {
    let Some(lab) = lab(&[]) else { return };
    // More than any credit or queue on the way holds.
    let sent = pattern::octets(3, 24_000_000);
    for host in ["echo.playground.test", REMOTE[0], REMOTE[1]] {
        let output = split(&lab, &[host, "7"], &sent);
        assert!(output.status.success(), "{host}: {}", text(&output.stderr));
        assert_eq!(output.stdout.len(), sent.len(), "{host}");
        assert_eq!(pattern::mismatch(3, 0, &output.stdout), None, "{host}");
    }
    // Port 8 answers after the end of what it has read.
    let output = split(&lab, &["www.playground.test", "8"], &sent);
    assert!(text(&output.stdout).contains(r#""octets":24000000"#), "{}", text(&output.stdout));
    let nothing = split(&lab, &["www.playground.test", "8"], b"");
    assert!(text(&nothing.stdout).contains(r#""octets":0"#), "{}", text(&nothing.stdout));
}

#[test]
fn each_failure_has_words_of_its_own() {
    let Some(lab) = lab(&[]) else { return };
    let cases = [
        (["www.playground.test", "1"], "connection refused"),
        (["www.playground.test", "5"], "connection reset by peer"),
        (["198.18.0.77", "7"], "host unreachable"),
        (["10.81.0.2", "7"], "denied by policy"),
        ([OUTSIDE, "22"], "denied by policy"),
        (["127.0.0.1", "22"], "denied by policy"),
        (["::ffff:127.0.0.1", "22"], "denied by policy"),
        (["nothing.playground.test", "7"], "no address"),
    ];
    for (arguments, words) in cases {
        let output = split(&lab, &arguments, b"x");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(words), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn the_operator_forbids_or_demands_them() {
    let Some(forbids) = lab(&["--set", "policy.split=\"forbidden\""]) else { return };
    let refused = split(&forbids, &["echo.playground.test", "7"], b"x");
    assert!(text(&refused.stderr).contains("network unreachable"), "{}", text(&refused.stderr));
    drop(forbids);

    let Some(demands) = lab(&["--set", "policy.split=\"required\""]) else { return };
    let echoed = split(&demands, &["echo.playground.test", "7"], b"by a stream");
    assert_eq!(text(&echoed.stdout), "by a stream");
    let denied = run_with_input(demands.tool("webtun-nc").args(["-N", REMOTE[0], "7"]), b"x");
    assert!(text(&denied.stderr).contains("denied by policy"), "{}", text(&denied.stderr));
}
