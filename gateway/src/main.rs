//! The gateway's command line; everything else is in the library.

use clap::Parser;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use webtun_gateway::config::cli::{Cli, Command, TokenCommand};
use webtun_gateway::config::{Config, LogFormat, Token, load};
use webtun_gateway::io::auth::fresh_token;
use webtun_gateway::io::health;
use webtun_gateway::io::run::{Ready, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: &Cli) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(Command::Token(command)) = cli.command {
        return token(command);
    }
    let config = load::load(cli)?;
    if cli.print_config {
        print!("{}", load::print(&config)?);
        return Ok(());
    }
    if let Some(Command::Health) = cli.command {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return Ok(runtime.block_on(health::ask(&config))?);
    }
    start_logging(&config)?;
    #[cfg(target_os = "linux")]
    if config.egress != webtun_gateway::config::EgressChoice::User {
        webtun_gateway::io::egress::capability::raise();
    }
    let threads = config.threads(std::thread::available_parallelism().map_or(1, usize::from));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    Ok(runtime.block_on(run(config, announce))?)
}

fn token(command: TokenCommand) -> Result<(), Box<dyn std::error::Error>> {
    let mut token = String::new();
    let mut out = std::io::stdout();
    match command {
        TokenCommand::New => {
            token = fresh_token()?;
            writeln!(out, "# for the client; it is kept nowhere\n{token}\n# for the file")?;
        }
        TokenCommand::Hash => drop(std::io::stdin().read_line(&mut token)?),
    }
    let hash = String::from(Token::try_from(token.trim().to_owned())?);
    Ok(writeln!(out, "tokens = [\"{hash}\"]")?)
}

fn start_logging(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let filter = EnvFilter::try_new(&config.log.filter).map_err(|error| {
        format!("configuration: `log.filter`: {error}; write it as info or warn,webtun_gateway=debug")
    })?;
    let colours = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().with_ansi(false).init(),
    }
    Ok(())
}

/// Programs that start a gateway wait for the line `listening on`, which comes last.
fn announce(ready: &Ready) {
    let scheme = if ready.is_tls { "https" } else { "http" };
    let mut text = String::new();
    if let Some(token) = &ready.made_token {
        text = format!("open {}?token={token}\n", ready.page);
    }
    text.push_str(&format!("listening on {scheme}://{}/\n", ready.address));
    // Whoever has closed our standard output does not want to know.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
