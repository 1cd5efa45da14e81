//! How `cargo xtask demo` begins and ends. Needs root, and the programs that an earlier demo has built.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PORT: u16 = 8279;

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["demo", "--dev", "--no-build", "--port", &PORT.to_string()]).args(arguments).stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("it starts")
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// A demo that serves.
struct Demo(Child);

impl Demo {
    fn start() -> Self {
        Self::ready(demo(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"))
    }

    fn ready(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("text");
        let mut this = Self(child);
        if line != format!("ready http://127.0.0.1:{PORT}/\n") {
            let status = this.end(Signal::SIGTERM);
            let mut errors = String::new();
            let _ = this.0.stderr.take().map(|mut stderr| stderr.read_to_string(&mut errors));
            panic!("{status} {line:?} {errors}");
        }
        this
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), signal);
        self.0.wait().expect("it was started")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.end(Signal::SIGTERM);
    }
}

/// What there is of a demo on this machine.
fn traces() -> Vec<String> {
    let list = |program: &str, arguments: &[&str]| text(&output(Command::new(program).args(arguments)).stdout);
    let all = [
        list("ip", &["netns", "list"]),
        list("ip", &["-oneline", "link"]),
        list("nft", &["list", "tables"]),
        list("ip", &["route"]),
        list("ip", &["-6", "route"]),
    ];
    let ours = ["webtun-play", "wtplay0", "webtun0", "table inet webtun", "198.18.", "2001:2:"];
    all.concat().lines().filter(|line| ours.iter().any(|word| line.contains(word))).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root and a built demo"]
fn signals_end_it_and_nothing_stays() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut demo = Demo::start();
        assert!(traces().len() > 4, "{:?}", traces());
        assert_eq!(demo.end(signal).code(), Some(0), "{signal}");
        assert_eq!(traces(), Vec::<String>::new(), "{signal}");
    }
}

#[test]
#[ignore = "needs root and a built demo"]
fn what_a_killed_one_leaves_is_gone_after_the_next() {
    Demo::start().end(Signal::SIGKILL);
    assert!(!traces().is_empty(), "a killed demo cannot clean up");
    assert_eq!(Demo::start().end(Signal::SIGINT).code(), Some(0));
    assert_eq!(traces(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root and a built demo"]
fn a_port_in_use_is_told_with_the_flag_that_helps() {
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).expect("the port is free");
    let refused = output(&mut demo(&[]));
    assert_eq!(refused.status.code(), Some(1));
    let errors = text(&refused.stderr);
    assert!(errors.contains(&format!("port {PORT} is in use")) && errors.contains("--port"), "{errors}");
    assert_eq!(traces(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root and a built demo"]
fn a_command_gets_the_address_and_gives_its_status() {
    let ran = output(&mut demo(&["--run", "sh", "-c", "echo \"$WEBTUN_URL\"; exit 7"]));
    assert_eq!(ran.status.code(), Some(7), "{}", text(&ran.stderr));
    assert_eq!(text(&ran.stdout), format!("ws://127.0.0.1:{PORT}/\n"));
    assert_eq!(traces(), Vec::<String>::new());
}

/// A target folder of somebody who is not root, with the programs of ours.
struct Borrowed(PathBuf);

const NOBODY: u32 = 65534;

/// A program of a user who has no capability and cannot get any.
fn as_nobody(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
    command.args(["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"]);
    command.arg(program);
    command
}

impl Borrowed {
    /// None where that user cannot read this checkout.
    fn new() -> Option<Self> {
        let program = Path::new(env!("CARGO_BIN_EXE_xtask"));
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/demo/index.html");
        let mut test = as_nobody("test");
        test.arg("-x").arg(program).arg("-a").arg("-r").arg(&page);
        if !test.status().expect("setpriv runs").success() {
            eprintln!("left out: user {NOBODY} cannot read {}", page.display());
            return None;
        }
        let programs = program.parent().expect("a folder");
        let folder = std::env::temp_dir().join(format!("webtun-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        symlink(programs, folder.join("debug")).expect("a link");
        chown(&folder, Some(NOBODY), Some(NOBODY)).expect("root");
        Some(Self(folder))
    }

    /// The demo of that user.
    fn demo(&self, arguments: &[&str]) -> Command {
        let ours = demo(arguments);
        let mut command = as_nobody(ours.get_program());
        command.args(ours.get_args()).stdin(Stdio::null());
        command.env("CARGO_TARGET_DIR", &self.0).env("HOME", &self.0);
        command
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
#[ignore = "needs root, to be another user, and a built demo"]
fn every_panel_works_for_a_user_who_is_not_root() {
    let Some(borrowed) = Borrowed::new() else { return };
    let before = traces();
    let ran = output(&mut borrowed.demo(&["--check"]));
    let printed = text(&ran.stdout);
    assert_eq!(ran.status.code(), Some(0), "{printed} {}", text(&ran.stderr));
    assert!(printed.contains("7 panels passed, 0 failed"), "{printed}");
    assert_eq!(traces(), before);
}

#[test]
#[ignore = "needs root, to be another user, and a built demo"]
fn a_user_who_is_not_root_reaches_the_page_from_outside() {
    let Some(borrowed) = Borrowed::new() else { return };
    let child = borrowed.demo(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut demo = Demo::ready(child);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).expect("the port is outside, too");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("text");
    assert!(page.starts_with("HTTP/1.0 200") && page.contains("webtun"), "{page}");
    assert_eq!(traces(), Vec::<String>::new(), "nothing of it is outside of its namespace");
    assert_eq!(demo.end(Signal::SIGINT).code(), Some(0));
    let log = std::fs::read_to_string(borrowed.0.join("xtask/demo/gateway.log")).expect("a log");
    assert!(log.contains("egress: user"), "{log}");
}
