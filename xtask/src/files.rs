//! Files and programs, found without running anything.

use std::path::{Path, PathBuf};

use crate::Result;

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// A program on PATH or in the folders where Debian keeps those of the administrator.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Whether a program is installed.
pub fn has(program: &str) -> bool {
    find_program(program).is_some()
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

/// A file for a person to read; nothing of one that cannot be read.
pub fn read_text(file: &Path) -> String {
    std::fs::read(file).map(|octets| String::from_utf8_lossy(&octets).into_owned()).unwrap_or_default()
}

/// The last `count` lines of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
