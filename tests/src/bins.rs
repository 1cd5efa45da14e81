//! The programs under test, built once per test process into the target folder that the tests themselves came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());

/// `webtun-gateway`.
pub fn gateway() -> PathBuf {
    build("--bin", "webtun-gateway")
}

/// `webtun-playground`: real servers to talk to.
pub fn playground() -> PathBuf {
    build("--bin", "webtun-playground")
}

/// One of `examples/native`: `webtun-ping`, `webtun-nc`, `webtun-get` or `webtun-attach`.
pub fn native(name: &'static str) -> PathBuf {
    build("--bin", name)
}

/// One of this package's `examples`: programs of the tests' own.
pub fn example(name: &'static str) -> PathBuf {
    build("--example", name)
}

/// Builds a program with the profile of the running test and gives its path.
///
/// # Panics
/// When it does not build: no test that needs it can go on.
fn build(kind: &str, name: &'static str) -> PathBuf {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built.entry(name).or_insert_with(|| cargo_build(kind, name)).clone()
}

fn cargo_build(kind: &str, name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its executable");
    // <target>/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("tests lie two folders below the target folder");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The dependencies are built with the features that the tests have them with: an example brings those of development.
    let features = ["--workspace", "--all-features", "--example", "line"];
    let mut command = Command::new(cargo);
    // What cargo tells a test of its package, build scripts of dependencies ask for too: those would be built anew.
    let of_package = |name: &str| name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package)) {
        command.env_remove(name);
    }
    let status = command
        .args(["build", "--quiet", kind, name, "--profile", profile])
        .args(features)
        .env("CARGO_TARGET_DIR", folder.parent().unwrap_or(folder))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .status()
        .expect("cargo starts");
    assert!(status.success(), "{name} does not build");
    folder.join(if kind == "--example" { "examples" } else { "" }).join(name)
}
