//! What the tasks need from the machine: installed here, or the one line printed that does.

use crate::command::Command;
use crate::files::{find_program, has, root};
use crate::workspace::{is_root, npm_ci};
use crate::{Error, Result};

const WASM: &str = "wasm32-unknown-unknown";
/// Of programs that emcc links, and of those for WASI.
const PROGRAMS: &[&str] = &["wasm32-unknown-emscripten", "wasm32-wasip1", "wasm32-wasip2"];
const NODE: u32 = 20;

/// Program and the Debian package that brings it.
type Tool = (&'static str, &'static str);

/// To build the npm package.
const BUILD: &[Tool] = &[("node", "nodejs"), ("npm", "npm"), ("clang", "clang"), ("llvm-ar", "llvm")];
/// To run the gateway and the playground.
const NETWORK: &[Tool] = &[("ip", "iproute2"), ("nft", "nftables"), ("setpriv", "util-linux"), ("iperf3", "iperf3")];
/// To run the browser.
const BROWSER: &[Tool] = &[("chromium", "chromium")];
/// To build the container and to start it.
const CONTAINER: &[Tool] = &[
    ("capsh", "libcap2-bin"),
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("debootstrap", "debootstrap"),
    ("python3-venv", "python3-venv"),
    ("setcap", "libcap2-bin"),
    ("systemd-analyze", "systemd"),
    ("unshare", "util-linux"),
];
/// To run the tests.
const TESTS: &[Tool] = &[
    ("caddy", "caddy"),
    ("cc", "gcc"),
    ("cmake", "cmake"),
    ("debootstrap", "debootstrap"),
    ("dnsmasq", "dnsmasq-base"),
    ("emcc", "emscripten"),
    ("make", "make"),
    ("ping", "iputils-ping"),
    ("curl", "curl"),
    ("turnutils_natdiscovery", "coturn"),
    ("natpmpc", "natpmpc"),
    ("traceroute", "traceroute"),
    ("tracepath", "iputils-tracepath"),
    ("tcpdump", "tcpdump"),
    ("nc", "netcat-openbsd"),
    ("nginx", "nginx-light"),
    ("openssl", "openssl"),
    ("pg_createcluster", "postgresql"),
    ("python3", "python3-minimal"),
    ("qemu-system-i386", "qemu-system-x86"),
    ("redis-server", "redis-server"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("unshare", "util-linux"),
];

/// All of it.
pub fn all() -> Result {
    programs(&[BUILD, NETWORK, BROWSER, CONTAINER, TESTS].concat())?;
    rust_target(WASM)?;
    PROGRAMS.iter().try_for_each(|target| rust_target(target))?;
    npm_ci(&root().join("wasm/npm"))?;
    npm_ci(&root().join("examples/demo"))?;
    npm_ci(&root().join("examples/curl"))?;
    npm_ci(&root().join("examples/vm"))?;
    npm_ci(&root().join("tests/vm"))?;
    npm_ci(&root().join("tests/wasi"))
}

/// What `cargo xtask npm` needs.
pub fn for_npm() -> Result {
    programs(BUILD)?;
    node_version()?;
    rust_target(WASM)
}

/// What `cargo xtask demo` needs.
pub fn for_demo(browser: &[Tool]) -> Result {
    programs(&[BUILD, NETWORK, browser].concat())
}

/// What `cargo xtask container` needs.
pub fn for_container() -> Result {
    programs(&[BUILD, NETWORK, CONTAINER].concat())
}

fn programs(tools: &[Tool]) -> Result {
    let missing: Vec<_> = tools.iter().filter(|(program, _)| !present(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install --yes --no-install-recommends {}", missing.join(" "));
    if !is_root() {
        return Err(format!("some programs are missing; this installs them:\n\n    sudo {line}\n").into());
    }
    if !has("apt-get") {
        return Err(format!("please install, by the package manager of this system: {}", missing.join(" ")).into());
    }
    // The lists may be old or absent, as in a fresh container. Without a network the installation may still work.
    let _ = Command::line("apt-get --quiet --quiet update").run();
    Command::line(&line).env("DEBIAN_FRONTEND", "noninteractive").run()
}

fn present(program: &str) -> bool {
    match program {
        "chromium" => crate::browser::chromium().is_some(),
        "python3-venv" => Command::line("python3 -c").args(["import ensurepip, venv"]).output().is_ok(),
        _ => has(program),
    }
}

fn node_version() -> Result {
    let version = Command::line("node --version").output()?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|number| number.parse::<u32>().ok());
    match major {
        Some(major) if major >= NODE => Ok(()),
        _ => Err(format!("Node {NODE} or newer is needed, this is {}", version.trim()).into()),
    }
}

fn rust_target(name: &str) -> Result {
    let sysroot = Command::line("rustc --print sysroot").output()?;
    if std::path::Path::new(sysroot.trim()).join("lib/rustlib").join(name).is_dir() {
        return Ok(());
    }
    if find_program("rustup").is_none() {
        return Err(Error::from(format!("the Rust target {name} is missing, and there is no rustup to install it")));
    }
    Command::line("rustup target add").args([name]).run()
}
