//! Programs that run beside a test.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;

pub use nix::sys::signal::Signal;

/// How long a test waits for what has to happen. Generous: a busy machine must not make a test fail.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// A server or tool in the background; ended when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    lines: Receiver<String>,
}

impl Daemon {
    /// Starts `command`; its standard output is read line by line, its standard error is the test's.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let output = child.stdout.take().expect("standard output was asked for");
        // A program that writes more than anybody reads must not wait for the test: beyond the bound lines are lost.
        let (sender, lines) = sync_channel(1024);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.try_send(line);
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that begins with `prefix` and gives it.
    ///
    /// # Panics
    /// When the program ends, or a minute passes, without one.
    pub fn wait_for_line(&mut self, prefix: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.starts_with(prefix) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("no line '{prefix}...' within a minute"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("no line '{prefix}...', the program ended: {:?}", self.child.wait())
                }
            }
        }
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM) and gives its exit status, or `None` where a signal ended it, or where it did not end
    /// within a minute and was killed.
    pub fn stop(&mut self) -> Option<i32> {
        self.end(Signal::SIGTERM)
    }

    /// The same with another signal.
    pub fn end(&mut self, signal: Signal) -> Option<i32> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return status.code();
        }
        send_signal(self.child.id(), signal);
        if let Some(status) = eventually(|| self.child.try_wait().ok().flatten()) {
            return status.code();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        None
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a program writes to its standard error, to be read while it runs.
#[derive(Debug)]
pub struct Log(PathBuf);

impl Log {
    /// Sends the standard error of `command` to `file`.
    ///
    /// # Panics
    /// When the file cannot be made.
    pub fn of(command: &mut Command, file: PathBuf) -> Self {
        command.stderr(File::create(&file).expect("the folder can be written"));
        Self(file)
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        fs::read(&self.0).map(|octets| String::from_utf8_lossy(&octets).into_owned()).unwrap_or_default()
    }

    /// The whole lines so far that have `words` in them.
    pub fn lines(&self, words: &str) -> Vec<String> {
        let text = self.text();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }

    /// Waits for the line with `words` that is number `count`, from 1, and gives it.
    ///
    /// # Panics
    /// When there is none within a minute; the message has the whole log.
    pub fn wait_for(&self, words: &str, count: usize) -> String {
        let find = || self.lines(words).into_iter().nth(count - 1);
        eventually(find).unwrap_or_else(|| panic!("no line {count} with '{words}' within a minute:\n{}", self.text()))
    }
}

/// What `look` finds, as soon as it does, or `None` after a minute.
pub fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let turns = PATIENCE.as_millis() / PAUSE.as_millis();
    (0..turns).find_map(|_| {
        let found = look();
        if found.is_none() {
            std::thread::sleep(PAUSE);
        }
        found
    })
}

/// Sends a signal to a process; no harm where it is gone.
pub fn send_signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// Runs a command that must succeed and gives its standard output.
///
/// # Panics
/// When it fails; the message has both its outputs.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed ({})\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command to its end with this standard input.
///
/// # Panics
/// When it cannot be started.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let mut pipe = child.stdin.take().expect("standard input was asked for");
    std::thread::scope(|scope| {
        // Beside the reading of its output, so that neither pipe can fill up. A program may end before it has read all.
        scope.spawn(move || pipe.write_all(input));
        child.wait_with_output().expect("a child that was started can be waited for")
    })
}
