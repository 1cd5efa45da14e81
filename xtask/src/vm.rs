//! The Linux guest of `examples/vm`, which is that of `tests/vm` too.

use std::path::PathBuf;

use crate::command::Command;
use crate::files::{has, root};

/// Where it is.
pub fn folder() -> PathBuf {
    root().join("target/vm-guest")
}

/// What makes it, unless it is there. None where the packages that it is made of cannot be had.
pub fn build() -> Option<Command> {
    let line = "python3 examples/vm/guest/build.py --out";
    has("dpkg-deb").then(|| Command::line(line).args([folder()]))
}
