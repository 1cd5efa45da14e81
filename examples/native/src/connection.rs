//! The flags that every tool has: which gateway, with which token.

use std::error::Error;

use clap::Args;
use tracing_subscriber::EnvFilter;
use webtun_stack::Family;
use webtun_stack::aio::{self, ConnectOptions, StackHandle};

/// Where the gateway is.
#[derive(Clone, Debug, Args)]
pub struct ConnectionFlags {
    /// Address of the gateway, as in ws://127.0.0.1:8077/ or wss://gateway.example/
    #[arg(long, env = "WEBTUN_URL")]
    pub url: String,

    /// Bearer token of the gateway
    #[arg(long, env = "WEBTUN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// What to log to standard error, as in `debug` or `webtun_stack=trace`
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    pub log: String,
}

impl ConnectionFlags {
    /// Opens the tunnel.
    ///
    /// # Errors
    /// A text for the user.
    pub async fn connect(&self) -> Result<StackHandle, Box<dyn Error>> {
        self.start_log()?;
        Ok(aio::connect(&self.websocket_url(), self.options()).await?)
    }

    /// Logs to standard error from here on.
    ///
    /// # Errors
    /// The filter is wrong.
    pub fn start_log(&self) -> Result<(), Box<dyn Error>> {
        let filter = EnvFilter::try_new(&self.log)?;
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        Ok(())
    }

    /// What the stack needs to know of these flags.
    pub fn options(&self) -> ConnectOptions {
        ConnectOptions { token: self.token.clone(), ..ConnectOptions::default() }
    }

    /// The gateway prints `http://` addresses; the same host and port take the WebSocket.
    pub fn websocket_url(&self) -> String {
        match self.url.split_once("://") {
            Some(("http", rest)) => format!("ws://{rest}"),
            Some(("https", rest)) => format!("wss://{rest}"),
            Some(_) => self.url.clone(),
            None => format!("ws://{}", self.url),
        }
    }
}

/// Which family a name is looked up in.
#[derive(Clone, Copy, Debug, Args)]
pub struct FamilyFlags {
    /// Use IPv4 alone
    #[arg(short = '4', conflicts_with = "ipv6")]
    pub ipv4: bool,

    /// Use IPv6 alone
    #[arg(short = '6')]
    pub ipv6: bool,
}

impl FamilyFlags {
    /// For the resolver.
    pub fn family(self) -> Family {
        match (self.ipv4, self.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        }
    }
}
