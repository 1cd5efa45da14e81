//! The configuration: where it comes from, and what is said about mistakes.

use crate::support::{GATEWAY, Scratch, command, failure};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use webtun_gateway::config::{Config, TokenHash};

fn with_file(scratch: &Path, text: &str) -> Command {
    let path = scratch.join("gateway.toml");
    std::fs::write(&path, text).expect("a file");
    let mut command = command(scratch, &["--print-config"]);
    command.arg("--config").arg(path);
    command
}

fn printed(mut command: Command) -> Config {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    toml::from_str(&String::from_utf8(output.stdout).expect("text")).expect("what is printed is a configuration")
}

#[test]
fn a_typo_is_named_with_its_line_and_the_right_key() {
    let scratch = Scratch::new("typo");
    let error = failure(with_file(&scratch.0, "listen = \"127.0.0.1:1\"\n\n[nat]\nfiltring = \"address_dependent\"\n"));
    for part in ["`nat.filtring`", "gateway.toml, line 4", "did you mean `filtering`?"] {
        assert!(error.contains(part), "{part} is missing: {error}");
    }
}

#[test]
fn a_typo_in_a_section_or_a_rule_is_named_too() {
    let scratch = Scratch::new("sections");
    let error = failure(with_file(&scratch.0, "[polizy]\n"));
    assert!(error.contains("`polizy`") && error.contains("did you mean `policy`?"), "{error}");
    let error = failure(with_file(&scratch.0, "[[policy.rule]]\naction = \"allow\"\nprefx = \"10.0.0.0/8\"\n"));
    assert!(error.contains("prefx") && error.contains("did you mean `prefix`?"), "{error}");
}

#[test]
fn a_typo_in_a_variable_or_a_flag_is_named_too() {
    let scratch = Scratch::new("variable");
    let mut wrong = command(&scratch.0, &["--print-config"]);
    wrong.env("WEBTUN_NAT__BLOCKSIZE", "64");
    let error = failure(wrong);
    assert!(error.contains("WEBTUN_NAT__BLOCKSIZE") && error.contains("`block_size`"), "{error}");
    let error = failure(command(&scratch.0, &["--print-config", "--set", "limits.conections=5"]));
    assert!(error.contains("command line") && error.contains("`connections`"), "{error}");
}

#[test]
fn wrong_values_are_named_with_what_would_be_right() {
    let scratch = Scratch::new("values");
    for (text, key, hint) in [
        ("[nat]\nudp_timeout_s = 5\n", "nat.udp_timeout_s", "at least 120"),
        ("[nat]\nblock_size = 100\n", "nat.block_size", "multiple of 64"),
        ("[external]\nipv4 = [\"10.0.0.1\", \"10.0.0.2\"]\n", "external.ipv4", "external.machine_ipv4"),
        ("[external]\nmachine_ipv6 = [\"2001:db8::1\", \"2001:db8::2\"]\n", "external.machine_ipv6", "2 for the 1"),
        ("[external]\nmode = \"routed\"\nmachine_ipv4 = \"192.0.2.7\"\n", "external.machine_ipv4", "routed"),
        (
            "[external]\nmode = \"routed\"\nipv4 = [\"10.0.0.1\", \"10.0.0.0/31\"]\n",
            "external.ipv4",
            "10.0.0.1 stands twice",
        ),
        ("[external]\nannounced_ipv4 = \"2001:db8::1\"\n", "external.announced_ipv4", "this family"),
        ("[inner]\nipv4 = \"100.64.0.0/30\"\n", "inner.ipv4", "at most 29"),
        ("[inner]\nipv4 = \"100.64.0.0\"\n", "inner.ipv4", "line 2"),
        ("[external]\nport_range = \"9-1\"\n", "external.port_range", "16384-65535"),
        ("[external]\nipv4 = \"fd00::1\"\n", "external.ipv4", "off"),
        ("[external]\nipv6_prefix = \"2001:db8::/80\"\n", "external.ipv6_prefix", "64 bits"),
        ("[external]\nipv6_prefix = \"fd77:6562::/32\"\n", "external.ipv6_prefix", "apart"),
        ("[nat64]\nprefix = \"64:ff9b::/80\"\n", "nat64.prefix", "RFC 6052"),
        ("[policy]\nnat64_prefixes = [\"2001:db8::/97\"]\n", "policy.nat64_prefixes", "RFC 6052"),
        ("[[policy.rule]]\naction = \"deny\"\ngroup = \"staff\"\n", "policy.rule", "no group `staff`"),
        ("[[group]]\nname = \"a\"\n[[group]]\nname = \"a\"\n", "group", "twice"),
        ("[limits.session]\nmappings = \"many\"\n", "limits.session.mappings", "unlimited"),
        ("[auth]\ntickets = 0\n", "auth.tickets", "at least 1"),
        ("[auth]\nfailures_per_minute = 0\n", "auth.failures_per_minute", "at least 1"),
        ("[doors]\nmtu = 1279\n", "doors.mtu", "1280 to 65000"),
        ("[doors]\nguests = 0\n", "doors.guests", "at least 1"),
        ("[[doors.room]]\nname = \"a b\"\n", "doors.room", "letters"),
        ("[[doors.room]]\nname = \"a\"\ngroups = [\"x\"]\n", "doors.room", "no group"),
        ("[[doors.room]]\nname = \"a\"\nhost = \"192.0.2.1\"\n", "doors.room", "container2wasm"),
        ("[[doors.room]]\nname = \"a\"\nfixed = { \"02:00\" = \"192.168.127.9\" }\n", "doors.room", "no MAC"),
        ("[[doors.room]]\nname = \"a\"\nfixed = { \"02:00:00:00:00:07\" = \"10.0.0.9\" }\n", "doors.room", "subnet"),
        ("[[auth.jwt]]\nissuer = \"https://a.example\"\n", "auth.jwt.key", "missing"),
        ("[[auth.jwt]]\nkey = \"k\"\nleeway_s = 301\n", "auth.jwt.leeway_s", "at most 300"),
        ("[[auth.jwt]]\nkey = \"k\"\ngroup = \"staff\"\n", "auth.jwt.group", "no group `staff`"),
        ("allow_origins = [\"https://*\"]\n", "allow_origins", "https://*.example.org"),
        ("tokens = [\"not a token\"]\n", "tokens", "letters, digits"),
        ("allow_origins = [\"example.org\"]\n", "allow_origins", "https://example.org"),
        ("static_dir = \"/nonexistent\"\n", "static_dir", "not a folder"),
        ("listen = \"localhost\"\n", "listen", "line 1"),
        ("[tls]\ncertificate = \"gw.pem\"\n", "tls", "both files"),
        ("[http]\ntrusted_proxies = [\"10.0.0.0/33\"]\n", "http.trusted_proxies", "line 2"),
        ("[http]\npublic_url = \"gw.example\"\n", "http.public_url", "https://"),
        ("[http]\nforwarded_header = \"x_real_ip\"\n", "http.forwarded_header", "x_forwarded_for"),
        ("[limits]\nhandshakes_per_address = 0\n", "limits.handshakes_per_address", "at least 1"),
    ] {
        let error = failure(with_file(&scratch.0, text));
        assert!(error.contains(key) && error.contains(hint), "{text}: {error}");
    }
}

#[test]
fn a_missing_file_and_broken_toml_are_explained() {
    let scratch = Scratch::new("broken");
    let error = failure(command(&scratch.0, &["--config", "/nonexistent.toml"]));
    assert!(error.contains("/nonexistent.toml cannot be read"), "{error}");
    let error = failure(with_file(&scratch.0, "listen = \n"));
    assert!(error.contains("gateway.toml") && error.contains("line 1"), "{error}");
}

#[test]
fn what_is_printed_is_read_back_unchanged_and_has_no_token() {
    let scratch = Scratch::new("round-trip");
    let mut first =
        command(&scratch.0, &["--print-config", "--token", "s3cret", "--allow-origin", "https://a.example"]);
    first.args(["--set", "external.mode=routed", "--set", "external.ipv4=[\"198.51.100.4/30\",\"198.51.100.9\"]"]);
    first.args(["--set", "external.ipv6=off", "--set", "dns.zones={\"playground.test\"=[\"10.0.0.1\"]}"]);
    first.args(["--set", "policy.rule=[{action=\"allow\",prefix=\"10.0.0.0/8\",protocol=\"tcp\",ports=80}]"]);
    let hash = TokenHash::of(b"other").to_string();
    first.args(["--set", &format!("auth.token=[{{hash=\"{hash}\",name=\"alice\",limits={{session={{flows=7}}}}}}]")]);
    let text = String::from_utf8(first.output().expect("it starts").stdout).expect("text");
    let again = with_file(&scratch.0, &text).output().expect("it starts").stdout;
    assert_eq!(text, String::from_utf8(again).expect("text"));
    assert!(!text.contains("s3cret") && text.contains(&TokenHash::of(b"s3cret").to_string()), "{text}");
    assert!(text.contains(&hash) && text.contains("ports = \"80\""), "{text}");
}

#[test]
fn a_mistake_in_a_token_is_told_without_the_token() {
    let scratch = Scratch::new("mistake");
    let hash = TokenHash::of(b"s3cret");
    for (text, hint) in [
        ("tokens = [\"my s3cret\"]\n".to_owned(), "letters, digits"),
        (format!("tokens = [\"s3cret\", \"{hash}\"]\n"), "twice"),
        ("[[auth.token]]\nhash = \"s3cret\"\nname = \"a\"\n".to_owned(), "webtun-gateway token hash"),
        (format!("[[auth.token]]\nhash = \"{hash}\"\nname = \"\"\n"), "1 to 128"),
        (format!("[[auth.token]]\nhash = \"{hash}\"\nname = \"a\"\ngroup = \"staff\"\n"), "no group `staff`"),
    ] {
        let error = failure(with_file(&scratch.0, &text));
        assert!(error.contains("token") && error.contains(hint) && !error.contains("s3cret"), "{text}: {error}");
    }
}

#[test]
fn tokens_are_made_and_hashed_for_the_file() {
    let run = |verb: &str, input: &str| {
        let mut child = Command::new(GATEWAY)
            .args(["token", verb])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("text")
    };
    let made = run("new", "");
    let [token, line] = made.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>()[..] else {
        panic!("{made}")
    };
    assert_eq!(line, format!("tokens = [\"{}\"]", TokenHash::of(token.as_bytes())));
    assert_eq!(run("hash", &format!("{token}\n")).trim(), line);
    assert_ne!(run("new", ""), made);
    let config: Config = toml::from_str(line).expect("a configuration");
    assert!(!config.tokens[0].is_plain);
    assert_eq!(run("hash", "not a token\n"), "");
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let scratch = Scratch::new("precedence");
    let mut all = with_file(&scratch.0, "listen = \"127.0.0.1:1\"\n[tun]\nname = \"file0\"\n[limits]\nsessions = 7\n");
    all.env("WEBTUN_LISTEN", "127.0.0.1:2").env("WEBTUN_TUN__NAME", "variable0").env("WEBTUN_URL", "ws://elsewhere/");
    all.args(["--listen", "127.0.0.1:3"]);
    let config = printed(all);
    assert_eq!((config.listen.port(), config.tun.name.as_str(), config.limits.sessions), (3, "variable0", 7));
    assert_eq!(config.nat, Config::default().nat);
}

#[test]
fn the_example_holds_the_defaults() {
    let output = Command::new(GATEWAY)
        .args(["--print-config", "--config", concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.example.toml")])
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config: Config = toml::from_str(&String::from_utf8(output.stdout).expect("text")).expect("a configuration");
    assert_eq!(config, Config::default());
}

#[test]
fn every_line_of_the_example_that_is_commented_out_is_good_too() {
    let example = include_str!("../../gateway.example.toml");
    let uncommented: String = example
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
        .filter(|line| !line.starts_with("static_dir"))
        .collect();
    let scratch = Scratch::new("example");
    let config = printed(with_file(&scratch.0, &uncommented));
    assert_eq!((config.policy.rule.len(), config.dns.zones.len(), config.group.len()), (2, 1, 1));
}

/// As variables, by the README's rule: the names of tables joined by two underscores, and what is no table as TOML.
fn variables(prefix: &str, table: &toml::Table, found: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.to_uppercase());
        match value {
            // Its keys are the operator's.
            toml::Value::Table(inner) if key != "zones" => variables(&format!("{name}__"), inner, found),
            toml::Value::String(text) => found.push((name, text.clone())),
            other => found.push((name, other.to_string())),
        }
    }
}

#[test]
fn every_key_can_be_a_variable() {
    let example = include_str!("../../gateway.example.toml");
    let uncommented: String =
        example.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
    let scratch = Scratch::new("environment");
    let mut table: toml::Table = toml::from_str(&uncommented).expect("TOML");
    // Flags win, and the test's own has a value of these.
    table.remove("state_dir");
    table.remove("runtime_dir");
    table.insert("static_dir".to_owned(), scratch.0.display().to_string().into());
    let mut found = Vec::new();
    variables("WEBTUN_", &table, &mut found);
    assert!(found.len() > 90, "{}", found.len());
    let mut by_variables = command(&scratch.0, &["--print-config"]);
    by_variables.envs(found);
    let by_file = with_file(&scratch.0, &toml::to_string(&table).expect("TOML"));
    assert_eq!(printed(by_variables), printed(by_file));
}

#[test]
fn what_looks_like_a_number_or_a_list_of_one_is_taken_as_meant() {
    let scratch = Scratch::new("forms");
    let mut command = command(&scratch.0, &["--print-config"]);
    command.env("WEBTUN_TOKEN", "12345").env("WEBTUN_EXTERNAL__PORT_RANGE", "20000-30000");
    command.env("WEBTUN_ALLOW_ORIGINS", r#"["https://a.example", "https://*.b.example"]"#);
    command.env("WEBTUN_POLICY__RULE", r#"[{action="allow", prefix="10.0.0.0/8", ports=80}]"#);
    command.env("WEBTUN_GROUP", r#"[{name="players", limits={session={flows=7}}}]"#);
    command.env("WEBTUN_DNS__ZONES", r#"{"corp.example"=["10.0.0.53"]}"#);
    let config = printed(command);
    assert_eq!((config.tokens.len(), config.allow_origins.len(), config.policy.rule.len()), (1, 2, 1));
    assert_eq!((config.external.port_range.first, config.group[0].name.as_str()), (20000, "players"));
    assert!(config.dns.zones.contains_key("corp.example"));
}
