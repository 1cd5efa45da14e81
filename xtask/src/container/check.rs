//! What must hold of a container that runs.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Result;
use crate::browser::chromium;
use crate::command::Command;
use crate::container::confine::{Start, beside, command};
use crate::container::image::Image;
use crate::workspace::scratch;

/// The page's title once its tunnel works.
const CONNECTED: &str = "connected";
/// Where Chromium tells the titles of its pages, in the container's network.
const DEVTOOLS: &str = "http://127.0.0.1:9222/json/list";
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
const NET_ADMIN: u64 = 1 << 12;

/// Starts it as `docker run` does, and with `--device /dev/net/tun --cap-add NET_ADMIN`.
pub fn all(image: &Image) -> Result {
    let folder = scratch("container")?.join("run");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let plain = Container::start(image, &folder, false)?;
    is_confined(image, &plain, 0)?;
    is_healthy(image, &plain)?;
    serves_its_page(&plain)?;
    page_connects(&plain, &folder)?;
    let token = plain.open.clone();
    plain.stop_with("egress: user")?;
    println!("ok   a user without privilege, a root that is read-only, its page in Chromium: {token}");

    let tun = Container::start(image, &folder, true)?;
    is_confined(image, &tun, NET_ADMIN)?;
    is_healthy(image, &tun)?;
    ensure(tun.open == token, &format!("the volume does not keep the token: {} after {token}", tun.open))?;
    tun.stop_with("egress: tun")?;
    println!("ok   with /dev/net/tun and NET_ADMIN, and the token of before");
    Ok(())
}

fn ensure(holds: bool, otherwise: &str) -> Result {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

struct Container {
    child: Child,
    log: PathBuf,
    /// The address that it has printed, to be opened.
    open: String,
}

impl Container {
    fn start(image: &Image, folder: &Path, tun: bool) -> Result<Self> {
        let words = command(image, folder, &Start { tun, own_network: true, ..Start::default() })?;
        let log = folder.join(if tun { "tun.log" } else { "user.log" });
        let (program, arguments) = words.split_first().ok_or("no command")?;
        let mut child = std::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut this = Self { child, log, open: String::new() };
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(url) = line.strip_prefix("open ") {
                this.open = url.to_owned();
            }
            if line.starts_with("listening on ") {
                let begin = "http://localhost:8077/?token=";
                ensure(this.open.starts_with(begin), &format!("it has printed no address to open: {:?}", this.open))?;
                return Ok(this);
            }
        }
        Err(format!("the container does not start: {}", this.log()).into())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// A program of this machine in the container's network.
    fn in_its_network(&self, words: &[&str]) -> Command {
        Command::new("nsenter").args([format!("--target={}", self.child.id()), "--net".into(), "--".into()]).args(words)
    }

    /// Ends it as an engine does. Its log must have said which way packets leave.
    fn stop_with(mut self, egress: &str) -> Result {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        let log = self.log();
        ensure(status.success(), &format!("the container ends with {status}: {log}"))?;
        ensure(log.contains(egress), &format!("`{egress}` is not in the log: {log}"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The user, the capabilities and the root are the image's.
fn is_confined(image: &Image, container: &Container, capabilities: u64) -> Result {
    let status = std::fs::read_to_string(container.proc("status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let (user, group) = (image.user.0.to_string(), image.user.1.to_string());
    ensure(user != "0", "the image runs as root")?;
    ensure(field("Uid:").iter().all(|id| *id == user), &format!("its user is not the image's: {status}"))?;
    ensure(field("Gid:").iter().all(|id| *id == group), &format!("its group is not the image's: {status}"))?;
    for set in ["CapEff:", "CapPrm:"] {
        let has = u64::from_str_radix(&field(set).concat(), 16)?;
        ensure(has == capabilities, &format!("{set} is {has:x} and not {capabilities:x}"))?;
    }
    let written = std::fs::write(container.proc("root/written"), "");
    let is_read_only = written.is_err_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem);
    ensure(is_read_only, "its root can be written")
}

/// The HEALTHCHECK's command says so, and says otherwise where nobody is.
fn is_healthy(image: &Image, container: &Container) -> Result {
    let ask = |name: &str, value: &str| {
        let words = beside(image, container.child.id(), &image.health);
        let (program, arguments) = words.split_first().ok_or("no command")?;
        let mut command = std::process::Command::new(program);
        command.args(arguments).env_clear().envs(image.env.iter().cloned()).env(name, value);
        Ok::<_, crate::Error>(command.output()?)
    };
    let well = ask("WEBTUN_ADMIN", "127.0.0.1:9077")?;
    ensure(well.status.success(), &String::from_utf8_lossy(&well.stderr))?;
    let nobody = ask("WEBTUN_ADMIN", "127.0.0.1:9")?;
    ensure(nobody.status.code() == Some(1), &format!("nobody is healthy: {}", nobody.status))
}

fn serves_its_page(container: &Container) -> Result {
    for (file, wanted) in [("", "<title>webtun gateway"), ("main.mjs", "connect"), ("webtun/index.js", "import")] {
        let url = format!("http://localhost:8077/{file}");
        let text = container.in_its_network(&["curl", "--silent", "--show-error", "--fail", &url]).output()?;
        ensure(text.contains(wanted), &format!("{url} is not the page's: {text}"))?;
    }
    Ok(())
}

/// The page, at the address that was printed, opens a tunnel.
fn page_connects(container: &Container, folder: &Path) -> Result {
    let program = chromium().ok_or("no Chromium: apt-get install chromium, or set CHROMIUM to its path")?;
    let program = program.display().to_string();
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=9222"];
    let words = [&[program.as_str(), profile.as_str()], &flags[..], &[&container.open]].concat();
    let mut command = container.in_its_network(&words).into_std();
    let log = File::create(folder.join("chromium.log"))?;
    let mut browser = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
    let mut pages = String::new();
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        std::thread::sleep(PAUSE);
        pages = container.in_its_network(&["curl", "--silent", DEVTOOLS]).output().unwrap_or_default();
        if pages.contains(CONNECTED) {
            break;
        }
    }
    kill(Pid::from_raw(browser.id().cast_signed()), Signal::SIGTERM)?;
    browser.wait()?;
    ensure(pages.contains(CONNECTED), &format!("the page does not connect: {pages} {}", container.log()))
}
