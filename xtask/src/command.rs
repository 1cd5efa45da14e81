//! A program to run, which says what it was when it fails.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::Stdio;

use crate::Result;
use crate::files::root;

/// A builder of a child process. It runs in the root of the workspace unless told otherwise.
pub struct Command(std::process::Command);

/// The cargo that runs us.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// What cargo tells a program that it runs of the program's package. Build scripts of dependencies ask for the same names
/// (ring's does), so that cargo, run by us with these, would build those anew, and all that depends on them.
fn is_of_our_package(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_"))
}

impl Command {
    /// `program` is looked up on PATH.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = std::process::Command::new(program);
        command.current_dir(root());
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_our_package(name)) {
            command.env_remove(name);
        }
        Self(command)
    }

    /// A line of words, for constant commands.
    pub fn line(line: &str) -> Self {
        let mut words = line.split_ascii_whitespace();
        Self::new(words.next().unwrap_or_default()).args(words)
    }

    /// Further arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.args(args);
        self
    }

    /// A variable of the environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// The working directory.
    pub fn in_folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Runs it with our own streams. Err unless it succeeds.
    pub fn run(mut self) -> Result {
        let status = self.0.status().map_err(|error| format!("cannot run `{self}`: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("`{self}` failed: {status}").into()) }
    }

    /// Runs it without showing anything, and returns what it wrote to stdout. Err, with its stderr, unless it succeeds.
    pub fn output(mut self) -> Result<String> {
        let output = self.0.stdin(Stdio::null()).output().map_err(|error| format!("cannot run `{self}`: {error}"))?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`{self}` failed: {}: {}", output.status, reason.trim()).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs it with our own stderr, and returns what it wrote to stdout. Err unless it succeeds.
    pub fn output_beside_errors(mut self) -> Result<String> {
        let output = self.0.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| format!("cannot run `{self}`: {error}"))?;
        if !output.status.success() {
            return Err(format!("`{self}` failed: {}", output.status).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same command of the standard library.
    pub fn into_std(self) -> std::process::Command {
        self.0
    }

    /// The same command for tokio.
    pub fn into_tokio(self) -> tokio::process::Command {
        self.0.into()
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.get_program().display())?;
        self.0.get_args().try_for_each(|argument| write!(f, " {}", argument.display()))
    }
}
