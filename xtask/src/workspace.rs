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
    Ok(target()?.join("release"))
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
    Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).in_folder(folder).run()
}
