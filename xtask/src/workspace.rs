//! Where things are.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::Result;
use crate::command::{Command, cargo};

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

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

/// A program on PATH or in the folders where Debian keeps those of the administrator.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Copies a folder with all below it, except the names that `skip` picks.
pub fn copy_folder(from: &Path, to: &Path, skip: &dyn Fn(&str) -> bool) -> Result {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).map_err(|error| format!("cannot read {}: {error}", from.display()))? {
        let entry = entry?;
        if entry.file_name().to_str().is_none_or(skip) {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target, skip)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Whether a program is installed.
pub fn has(program: &str) -> bool {
    find_program(program).is_some()
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
