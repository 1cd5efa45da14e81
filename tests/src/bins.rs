//! The programs under test, built once per test process into the target folder that the tests themselves came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

static BUILT: Mutex<BTreeMap<(&str, &str), PathBuf>> = Mutex::new(BTreeMap::new());

/// `webtun-gateway`.
pub fn gateway() -> PathBuf {
    build("webtun-gateway", "webtun-gateway")
}

/// `webtun-playground`: real servers to talk to.
pub fn playground() -> PathBuf {
    build("webtun-playground", "webtun-playground")
}

/// One of `examples/native`: `webtun-ping`, `webtun-nc`, `webtun-get` or `webtun-attach`.
pub fn native(name: &'static str) -> PathBuf {
    build("webtun-native-examples", name)
}

/// One of this package's `examples`: programs of the tests' own.
pub fn example(name: &'static str) -> PathBuf {
    build_target("webtun-tests", "--example", name)
}

/// Builds a binary with the profile of the running test and gives its path.
///
/// # Panics
/// When it does not build: no test that needs it can go on.
pub fn build(package: &'static str, binary: &'static str) -> PathBuf {
    build_target(package, "--bin", binary)
}

fn build_target(package: &'static str, kind: &str, name: &'static str) -> PathBuf {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built.entry((package, name)).or_insert_with(|| cargo_build(package, kind, name)).clone()
}

fn cargo_build(package: &str, kind: &str, name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its executable");
    // <target>/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("tests lie two folders below the target folder");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", package, kind, name, "--profile", profile])
        .env("CARGO_TARGET_DIR", folder.parent().unwrap_or(folder))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .status()
        .expect("cargo starts");
    assert!(status.success(), "{name} does not build");
    folder.join(if kind == "--example" { "examples" } else { "" }).join(name)
}
