//! A browser that nobody debugs: a plain child process with a new profile, which opens one page.
//!
//! With a DevTools client attached Chromium reports every WebSocket frame to it, and becomes several times slower.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::ValueEnum;
use tokio::process::Child;

use crate::Result;
use crate::command::Command;
use crate::daemon::ask_to_end;
use crate::files::{find_program, last_lines, read_text};
use crate::workspace::scratch;

const CHROMIUM: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
];

const LAST_LINES: usize = 20;

/// Which browser.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Kind {
    /// Chromium, or Chrome.
    Chromium,
    /// Firefox, or Debian's firefox-esr.
    Firefox,
}

impl Kind {
    /// The programs it needs, with their Debian packages.
    pub fn tools(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Chromium => &[("chromium", "chromium")],
            Self::Firefox => &[("firefox-esr", "firefox-esr")],
        }
    }
}

/// $CHROMIUM, or the first that is installed.
pub fn chromium() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(named.into());
    }
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"].into_iter().find_map(find_program)
}

/// A picture to take once the page's load event has come.
pub struct Picture<'a> {
    /// The PNG file.
    pub file: &'a Path,
    /// Width and height in pixels.
    pub window: (u32, u32),
}

/// A running browser. Its profile is removed when it is closed.
pub struct Browser {
    child: Child,
    folder: PathBuf,
    log: PathBuf,
}

impl Browser {
    /// Opens `url`.
    pub fn open(kind: Kind, url: &str, picture: Option<&Picture<'_>>, dark: bool) -> Result<Self> {
        let folder = scratch("browser")?.join(std::process::id().to_string());
        std::fs::create_dir_all(&folder)?;
        let path = scratch("browser")?.join("browser.log");
        let log = File::create(&path)?;
        let mut command = Command::new("setpriv").args(["--pdeathsig", "KILL", "--"]).args(match kind {
            Kind::Chromium => chromium_command(&folder, picture, dark)?,
            Kind::Firefox => firefox_command(&folder)?,
        });
        command = command.args([url]).env("TMPDIR", &folder).env("HOME", &folder);
        let mut command = command.into_tokio();
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let child = command.spawn().map_err(|error| format!("cannot start the browser: {error}"))?;
        Ok(Self { child, folder, log: path })
    }

    /// Resolves when it ends by itself, which it does after a picture.
    pub async fn ended(&mut self) {
        let _ = self.child.wait().await;
    }

    /// The last lines of what it has said, for a person to whom it did not show a page.
    pub fn last_words(&self) -> String {
        last_lines(&read_text(&self.log), LAST_LINES)
    }

    /// Ends it.
    pub async fn close(mut self) {
        ask_to_end(&mut self.child).await;
        // Its helpers may still write for a moment.
        for _ in 0..20 {
            if std::fs::remove_dir_all(&self.folder).is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

fn chromium_command(folder: &Path, picture: Option<&Picture<'_>>, dark: bool) -> Result<Vec<String>> {
    let program = chromium().ok_or("no Chromium: apt-get install chromium, or set CHROMIUM to its path")?;
    let mut words = vec![program.display().to_string()];
    words.extend(CHROMIUM.iter().map(ToString::to_string));
    words.push(format!("--user-data-dir={}", folder.join("profile").display()));
    if let Some(Picture { file, window: (width, height) }) = picture {
        words.push(format!("--screenshot={}", std::path::absolute(file)?.display()));
        words.push(format!("--window-size={width},{height}"));
    }
    if dark {
        words.push("--blink-settings=preferredColorScheme=0".into());
    }
    Ok(words)
}

fn firefox_command(folder: &Path) -> Result<Vec<String>> {
    let program = find_program("firefox-esr").or_else(|| find_program("firefox"));
    let program = program.ok_or("no Firefox: apt-get install firefox-esr")?;
    let profile = folder.join("profile");
    std::fs::create_dir_all(&profile)?;
    Ok([&program.display().to_string(), "--headless", "--no-remote", "--profile", &profile.display().to_string()]
        .map(str::to_owned)
        .to_vec())
}
