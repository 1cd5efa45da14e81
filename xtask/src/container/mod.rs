//! `cargo xtask container`: the container without a container engine. Builds the image by the Dockerfile's own steps, starts it
//! as an engine would, and checks what the README promises of it.

mod check;
mod confine;
mod dockerfile;
mod image;

use clap::Args;

pub use confine::{Start, command};
pub use image::{Image, around, built};

use crate::workspace::is_root;
use crate::{Result, npm, setup, workspace};

/// Flags of `cargo xtask container`.
#[derive(Args)]
pub struct Options {
    /// Around the gateway of the dev profile, as the tests build it, instead of by the Dockerfile's steps
    #[arg(long)]
    dev: bool,
    /// Do not build anything: use what the last run built
    #[arg(long)]
    no_build: bool,
    /// Only lint the files of gateway/deploy
    #[arg(long, conflicts_with_all = ["dev", "no_build"])]
    lint: bool,
}

/// Runs all of it; Err with the first thing that does not hold.
pub fn run(options: &Options) -> Result {
    if options.lint {
        return lint();
    }
    if !is_root() {
        return Err("the container's root folder and its namespaces need root: sudo -E cargo xtask container".into());
    }
    setup::for_container()?;
    let image = match (options.dev, options.no_build) {
        (true, true) => around(&workspace::programs(false)?)?,
        (true, false) => {
            npm::build()?;
            around(&workspace::build_dev(&["webtun-gateway"])?)?
        }
        (false, true) => built()?,
        (false, false) => image::build()?,
    };
    check::all(&image)
}

/// The linters come from PyPI, into an environment of their own.
fn lint() -> Result {
    use crate::command::Command;
    use crate::files::root;
    let folder = crate::workspace::scratch("container")?.join("linters");
    let wanted = root().join("tests/deploy/requirements.txt");
    let marker = folder.join("installed.txt");
    let text = std::fs::read(&wanted)?;
    if std::fs::read(&marker).ok().as_ref() != Some(&text) {
        Command::line("python3 -m venv --clear").args([&folder]).run()?;
        let pip = folder.join("bin/pip");
        Command::new(pip).args(["install", "--quiet", "--requirement"]).args([&wanted]).run()?;
        std::fs::write(&marker, text)?;
    }
    Command::new(folder.join("bin/python")).args(["tests/deploy/lint.py"]).run()
}
