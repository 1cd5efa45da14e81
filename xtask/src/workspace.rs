//! What cargo and npm make of the workspace.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::Result;
use crate::command::{Command, cargo};

/// Cargo's target directory, wherever it is configured.
pub fn target() -> Result<&'static Path> {
    static TARGET: LazyLock<std::result::Result<PathBuf, String>> =
        LazyLock::new(|| ask_cargo().map_err(|error| error.to_string()));
    TARGET.as_deref().map_err(|error| error.as_str().into())
}

fn ask_cargo() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CARGO_TARGET_DIR") {
        return Ok(std::path::absolute(folder)?);
    }
    let metadata = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    Ok(metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?.into())
}

/// A folder of our own in the target directory: logs, the page as it is served, the demo's files.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let folder = target()?.join("xtask").join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Builds packages of the workspace with optimisation and returns the folder of their programs.
pub fn build_release(packages: &[&str]) -> Result<PathBuf> {
    let mut build = cargo().args(["build", "--release"]);
    for package in packages {
        build = build.args(["--package", package]);
    }
    build.run()?;
    programs(true)
}

/// Builds programs as the tests have them, so that little is left to build after those, and returns their folder. An example
/// brings the features of development.
pub fn build_dev(programs: &[&str]) -> Result<PathBuf> {
    build_shared(programs.iter().flat_map(|name| ["--bin", name]))?;
    self::programs(false)
}

/// Builds what cargo's flags choose, with the features that the tests have built the dependencies with.
pub fn build_shared<'a>(chosen: impl IntoIterator<Item = &'a str>) -> Result {
    cargo().args(["build", "--workspace", "--all-features", "--example", "line"]).args(chosen).run()
}

/// Where cargo leaves the programs of the release profile, or of the dev profile.
pub fn programs(release: bool) -> Result<PathBuf> {
    Ok(target()?.join(if release { "release" } else { "debug" }))
}

/// Whether we may create namespaces, devices and nftables rules.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// `npm ci` in a folder, unless what is installed is as new as the lock file.
pub fn npm_ci(folder: &Path) -> Result {
    let modified = |name: &str| std::fs::metadata(folder.join(name)).and_then(|file| file.modified());
    let installed = modified("node_modules/.package-lock.json").ok();
    if installed.is_some_and(|at| modified("package-lock.json").is_ok_and(|lock| lock <= at)) {
        return Ok(());
    }
    // It tells on its stdout what it has added, where a task may have figures.
    Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).in_folder(folder).output().map(drop)
}

/// Whether there are other users than root: in the user namespace of one user there are none.
pub fn has_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().nth(2).is_some_and(|count| count != "1")
}
