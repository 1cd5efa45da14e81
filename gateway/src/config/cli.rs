//! The command line.

use super::EgressChoice;
use clap::{Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Gateway of a webtun: browser tabs connect by WebSocket and get TCP, UDP and ICMP through a TUN device.
///
/// Every key of the configuration file can also be given as a variable (WEBTUN_LISTEN, WEBTUN_NAT__FILTERING: two
/// underscores between section and key) or with --set. Flags win over variables, variables over the file.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "webtun-gateway", version)]
pub struct Cli {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "WEBTUN_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:8077].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// How packets leave: by a TUN device, which takes privilege, by ordinary sockets, or by the better that can be had
    /// [default: auto].
    #[arg(long, value_name = "WAY")]
    pub egress: Option<EgressChoice>,
    /// A folder with files to serve.
    #[arg(long, value_name = "FOLDER")]
    pub static_dir: Option<PathBuf>,
    /// A bearer token that opens sessions, or its hash; can be given several times.
    #[arg(long = "token", value_name = "TOKEN", env = "WEBTUN_TOKEN", hide_env_values = true)]
    pub tokens: Vec<String>,
    /// An origin whose pages may connect, such as `https://example.org`; can be given several times.
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    pub allow_origins: Vec<String>,
    /// A PEM file with the certificate, for TLS; also WEBTUN_TLS__CERTIFICATE.
    #[arg(long, value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with its private key; also WEBTUN_TLS__KEY.
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// What to log, such as debug or warn,webtun_gateway=trace [default: info].
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// Any other key, such as --set nat.block_size=1024 (a TOML value, or text); can be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    pub set: Vec<(String, toml::Value)>,
    /// Prints what is in force, as TOML, and ends. Of tokens it prints the hashes.
    #[arg(long)]
    pub print_config: bool,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does besides serving.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Makes bearer tokens and their hashes for the configuration file.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Asks the gateway that runs with this configuration whether it is alive, and ends with status 0 if it is.
    Health,
}

/// `webtun-gateway token`
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum TokenCommand {
    /// Prints a fresh random token, and what stands for it in the file.
    New,
    /// Reads a token from standard input, and prints what stands for it in the file.
    Hash,
}

fn parse_set(text: &str) -> Result<(String, toml::Value), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    let key = key.trim();
    if key.is_empty() || key.split('.').any(str::is_empty) {
        return Err(format!("`{key}` is not a key"));
    }
    // What is no TOML value is taken as text, so that a shell user need not quote twice.
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}")).ok().and_then(|mut it| it.remove("value"));
    Ok((key.to_owned(), parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()))))
}

impl Cli {
    /// The flags as a table of the shape of the configuration file.
    pub(super) fn overrides(&self) -> toml::Table {
        let mut table = toml::Table::new();
        for (key, value) in &self.set {
            insert(&mut table, key, value.clone());
        }
        let text = |text: &str| toml::Value::String(text.to_owned());
        let list = |items: &[String]| toml::Value::Array(items.iter().map(|item| text(item)).collect());
        if let Some(listen) = self.listen {
            insert(&mut table, "listen", text(&listen.to_string()));
        }
        if let Some(way) = self.egress.and_then(|way| way.to_possible_value()) {
            insert(&mut table, "egress", text(way.get_name()));
        }
        if let Some(dir) = &self.static_dir {
            insert(&mut table, "static_dir", text(&dir.to_string_lossy()));
        }
        if !self.tokens.is_empty() {
            insert(&mut table, "tokens", list(&self.tokens));
        }
        if !self.allow_origins.is_empty() {
            insert(&mut table, "allow_origins", list(&self.allow_origins));
        }
        for (key, file) in [("tls.certificate", &self.tls_certificate), ("tls.key", &self.tls_key)] {
            if let Some(file) = file {
                insert(&mut table, key, text(&file.to_string_lossy()));
            }
        }
        if let Some(filter) = &self.log {
            insert(&mut table, "log.filter", text(filter));
        }
        table
    }
}

/// Puts `value` at `key`, whose parts are separated by dots; a part that is no table yet becomes one.
fn insert(table: &mut toml::Table, key: &str, value: toml::Value) {
    let Some((section, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return;
    };
    let inner = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if !inner.is_table() {
        *inner = toml::Value::Table(toml::Table::new());
    }
    if let toml::Value::Table(inner) = inner {
        insert(inner, rest, value);
    }
}
