//! The demo: a playground of real servers in a namespace of its own, a gateway in front of it, and the page.

mod check;
mod namespace;
mod network;
mod page;
mod servers;

use std::fs::File;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::browser::Kind;
use crate::command::Command;
use crate::daemon::ask_to_end;
use crate::demo::servers::{Place, Servers, Setup};
use crate::{Result, container, npm, setup, workspace};

/// The exit status of a run that a signal ended.
const INTERRUPTED: u8 = 130;

/// How the gateway's packets leave.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Egress {
    /// By a TUN device.
    Tun,
    /// By ordinary sockets, of a gateway whose user has no privilege.
    User,
}

impl Egress {
    /// As the gateway's flag has it.
    fn name(self) -> &'static str {
        match self {
            Self::Tun => "tun",
            Self::User => "user",
        }
    }
}

/// What is in the image.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Contents {
    /// What the Dockerfile's steps have made, by `cargo xtask container`.
    Image,
    /// The gateway that the demo starts otherwise, with libraries of this machine.
    Programs,
}

/// Flags of `cargo xtask demo`.
#[derive(Args)]
pub struct Options {
    /// Port on 127.0.0.1 for the page and the gateway
    #[arg(long, default_value_t = 8077, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Open the page in a headless browser, run every panel once, and fail if one fails
    #[arg(long, conflicts_with = "run")]
    check: bool,
    /// With --check: keep a picture of the page (PNG) as it was at the end
    #[arg(long, value_name = "FILE", requires = "check")]
    screenshot: Option<PathBuf>,
    /// With --screenshot: WIDTHxHEIGHT of the window in pixels
    #[arg(long, default_value = "1280x1880", value_parser = window)]
    window: (u32, u32),
    /// With --screenshot: take the picture of the dark page
    #[arg(long)]
    dark: bool,
    /// With --check: the browser
    #[arg(long, value_enum, default_value_t = Kind::Chromium)]
    browser: Kind,
    /// How the gateway's packets leave: by a TUN device, or, without any capability, by ordinary sockets [default: of root by
    /// the first, of others by the second]
    #[arg(long, value_enum)]
    egress: Option<Egress>,
    /// The gateway in an image, confined as in a container; for --run
    #[arg(long, value_enum, value_name = "IMAGE", conflicts_with = "check")]
    container: Option<Contents>,
    /// Of a run in a namespace: the socket by which the outside comes in
    #[arg(long, hide = true)]
    way_in: Option<PathBuf>,
    /// Do not build anything: use what the last run built
    #[arg(long)]
    no_build: bool,
    /// Use programs of the dev profile, as the tests build them
    #[arg(long)]
    dev: bool,
    /// Run a command against the gateway (its address is in WEBTUN_URL) and end with its exit status
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_name = "COMMAND")]
    run: Option<Vec<String>>,
}

/// Runs until the check or the command ends, or until SIGINT, SIGTERM or SIGHUP.
pub async fn run(options: &Options) -> Result<ExitCode> {
    let confined = options.container.is_some() || options.egress == Some(Egress::User);
    if !workspace::is_root() || (confined && options.way_in.is_none()) {
        return namespace::run(options).await;
    }
    let _lock = lock()?;
    check_port(options.port)?;
    let programs = prepare(options)?;
    let folder = workspace::scratch("demo")?;
    let page = folder.join("page");
    let image = match options.container {
        None => None,
        Some(Contents::Image) => Some(container::built()?),
        Some(Contents::Programs) => Some(container::around(&programs)?),
    };

    // Before anything is there to be left behind.
    let mut interrupt = Interrupt::new()?;
    let egress = options.egress.unwrap_or(Egress::Tun);
    let setup = Setup { programs: &programs, folder: &folder, page: &page, port: options.port, egress, image };
    let mut servers = Servers::start(&setup).await?;
    if let Some(socket) = &options.way_in {
        tokio::spawn(namespace::let_in(UnixListener::bind(socket)?, options.port));
    }
    let place = servers.place();
    let done = tokio::select! {
        done = serve(options, &place, &mut interrupt) => done,
        error = servers.ended() => Err(error),
    };
    servers.stop().await;
    done
}

/// What does not take root: programs, whose folder is returned, and the page.
fn prepare(options: &Options) -> Result<PathBuf> {
    if options.way_in.is_some() {
        // It was done outside.
        return workspace::programs(!options.dev);
    }
    setup::for_demo(if options.check { options.browser.tools() } else { &[] })?;
    let programs = if options.no_build { workspace::programs(!options.dev)? } else { build(options)? };
    page::assemble(&workspace::scratch("demo")?)?;
    Ok(programs)
}

fn build(options: &Options) -> Result<PathBuf> {
    npm::build()?;
    // For people: checks and commands need not wait for a guest and for programs.
    if !options.check && options.run.is_none() {
        page::build_examples();
    }
    let programs = ["webtun-gateway", "webtun-playground"];
    if options.dev { workspace::build_dev(&programs) } else { workspace::build_release(&programs) }
}

async fn serve(options: &Options, place: &Place, interrupt: &mut Interrupt) -> Result<ExitCode> {
    if let Some(command) = &options.run {
        return run_command(command, place, interrupt).await;
    }
    let page = place.page_url();
    if options.check {
        let picture = options.screenshot.as_deref();
        let job = check::Job { browser: options.browser, picture, window: options.window, dark: options.dark };
        return tokio::select! {
            done = check::run(&page, &job) => done,
            () = interrupt.wait() => Ok(ExitCode::from(INTERRUPTED)),
        };
    }
    println!("ready {page}");
    interrupt.wait().await;
    Ok(ExitCode::SUCCESS)
}

/// Runs the user's command in our own namespace and folder, with our own streams.
async fn run_command(command: &[String], place: &Place, interrupt: &mut Interrupt) -> Result<ExitCode> {
    let (program, args) = command.split_first().ok_or("--run needs a command")?;
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "--", program])
        .args(args)
        .in_folder(std::env::current_dir()?)
        .env("WEBTUN_URL", place.url())
        .env("PLAYGROUND_CA", &place.ca_file)
        .env("PLAYGROUND_NETNS", network::NAMESPACE)
        .env("WEBTUN_GATEWAY", &place.gateway_program)
        .env("WEBTUN_EGRESS", place.egress.name())
        .into_tokio()
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    let status = tokio::select! {
        status = child.wait() => Some(status?),
        () = interrupt.wait() => ask_to_end(&mut child).await,
    };
    Ok(ExitCode::from(status.map_or(INTERRUPTED, exit_code)))
}

/// As a shell tells it: 128 and the number of the signal for a command that a signal ended.
fn exit_code(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(1)
}

/// SIGINT, SIGTERM and SIGHUP. Those that come before `wait` are not lost.
struct Interrupt([Signal; 3]);

impl Interrupt {
    fn new() -> Result<Self> {
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// The namespace and the TUN device have fixed names, so one demo runs at a time.
fn lock() -> Result<File> {
    let path = Path::new("/run/webtun-demo.lock");
    let file = File::create(path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another demo on this machine to end");
        file.lock()?;
    }
    Ok(file)
}

/// How often a port is asked for that is in use, and the pause after each time.
const PORT_PATIENCE: usize = 20;
const PORT_PAUSE: Duration = Duration::from_millis(50);

/// The gateway would say so as well, but only after the build, and without naming our flag. The programs of a demo that was
/// killed end a moment after it.
fn check_port(port: u16) -> Result {
    for pause in [PORT_PAUSE; PORT_PATIENCE] {
        match std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AddrInUse => std::thread::sleep(pause),
            Err(error) => return Err(format!("cannot listen on port {port}: {error}").into()),
        }
    }
    Err(format!("port {port} is in use by another program: choose another one with --port").into())
}

fn window(text: &str) -> std::result::Result<(u32, u32), String> {
    let parse = |(width, height): (&str, &str)| Some((width.parse().ok()?, height.parse().ok()?));
    text.split_once('x').and_then(parse).ok_or_else(|| "expected WIDTHxHEIGHT, as in 1280x1880".into())
}
