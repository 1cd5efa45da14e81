//! What is measured, built: once, however many families want it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::command::cargo;
use crate::npm;
use crate::{Result, workspace};

/// Programs of one profile, and the npm package.
pub struct Built {
    release: bool,
    done: RefCell<BTreeSet<String>>,
}

impl Built {
    /// Without optimisation where no figure counts: the tests build the same programs.
    pub fn new(release: bool) -> Self {
        Self { release, done: RefCell::default() }
    }

    /// The npm package.
    pub fn npm(&self) -> Result {
        self.once("npm", npm::build)
    }

    /// Packages' programs; returns their folder. Those that are measured are built each by itself: two together have other
    /// features.
    pub fn packages(&self, names: &[&str]) -> Result<PathBuf> {
        for name in names {
            let alone = ["--release", "--package", name];
            self.once(name, || self.build(if self.release { alone.to_vec() } else { vec!["--bin", name] }))?;
        }
        self.folder()
    }

    /// Examples of the tests' package; returns their folder.
    pub fn examples(&self, names: &[&str]) -> Result<PathBuf> {
        let examples = names.iter().flat_map(|name| ["--example", name]);
        let alone = self.release.then_some(["--release", "--package", "webtun-tests"]).into_iter().flatten();
        self.once(&names.join(" "), || self.build(alone.chain(examples).collect()))?;
        Ok(self.folder()?.join("examples"))
    }

    fn build(&self, chosen: Vec<&str>) -> Result {
        if self.release { cargo().args(["build"]).args(chosen).run() } else { workspace::build_shared(chosen) }
    }

    /// What makes `cargo xtask demo` take the programs that were built here.
    pub fn demo_flags(&self) -> &'static [&'static str] {
        if self.release { &["--no-build"] } else { &["--no-build", "--dev"] }
    }

    fn folder(&self) -> Result<PathBuf> {
        workspace::programs(self.release)
    }

    fn once(&self, what: &str, build: impl FnOnce() -> Result) -> Result {
        if !self.done.borrow().contains(what) {
            build()?;
            self.done.borrow_mut().insert(what.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_not_built_again_and_what_failed_is() {
        let built = Built::new(false);
        assert!(built.once("a", || Err("broken".into())).is_err());
        let mut builds = 0;
        for _ in 0..2 {
            let build = || {
                builds += 1;
                Ok(())
            };
            built.once("a", build).unwrap();
        }
        assert_eq!(builds, 1);
    }
}
