//! The playground and the gateway.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::daemon::Daemon;
use crate::demo::network::{NAMESPACE, Network, PREFIXES};

/// Where a client finds them.
#[derive(Clone)]
pub struct Place {
    port: u16,
    /// The certificate of the authority that the playground's HTTPS server answers with.
    pub ca_file: PathBuf,
}

impl Place {
    /// The gateway, for a client of the tunnel.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/", self.port)
    }

    /// The page.
    pub fn page_url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

/// All that runs behind the page.
pub struct Servers {
    place: Place,
    gateway: Daemon,
    playground: Daemon,
    /// Last, so that it is removed after the servers that stand in it.
    _network: Network,
}

impl Servers {
    /// `programs`: where the binaries are; `folder`: for configuration and logs; `page`: what the gateway serves.
    pub async fn start(programs: &Path, folder: &Path, page: &Path, port: u16) -> Result<Self> {
        let network = Network::create()?;
        let ca_file = folder.join("ca.pem");
        let mut playground = start_playground(programs, folder, &network, &ca_file).await?;
        match start_gateway(programs, folder, page, port, &network.playground()).await {
            Ok(gateway) => Ok(Self { place: Place { port, ca_file }, gateway, playground, _network: network }),
            Err(error) => {
                playground.stop().await;
                Err(error)
            }
        }
    }

    /// Where a client finds them.
    pub fn place(&self) -> Place {
        self.place.clone()
    }

    /// Resolves, with the reason, when one of them ends by itself.
    pub async fn ended(&mut self) -> crate::Error {
        tokio::select! {
            error = self.gateway.ended() => error,
            error = self.playground.ended() => error,
        }
    }

    /// Ends both; the gateway removes its device and its rules.
    pub async fn stop(mut self) {
        tokio::join!(self.gateway.stop(), self.playground.stop());
    }
}

async fn start_playground(programs: &Path, folder: &Path, network: &Network, ca_file: &Path) -> Result<Daemon> {
    let mut args: Vec<String> = vec!["--ca-file".into(), ca_file.display().to_string()];
    args.extend(network.playground().iter().flat_map(|address| ["--address".into(), address.to_string()]));
    args.extend(network.names().iter().flat_map(|(name, address)| ["--name".into(), format!("{name}={address}")]));
    let program = programs.join("webtun-playground");
    Daemon::start(&program, &args, "ready ", folder.join("playground.log"), Some(NAMESPACE)).await
}

async fn start_gateway(programs: &Path, folder: &Path, page: &Path, port: u16, resolvers: &[IpAddr]) -> Result<Daemon> {
    let file = folder.join("gateway.toml");
    std::fs::write(&file, configuration(page, port, resolvers))?;
    let args = ["--config".into(), file.display().to_string()];
    let program = programs.join("webtun-gateway");
    Daemon::start(&program, &args, "listening on ", folder.join("gateway.log"), None).await
}

fn configuration(page: &Path, port: u16, resolvers: &[IpAddr]) -> String {
    let page = serde_json::Value::from(page.display().to_string());
    let resolvers = resolvers.iter().map(|address| format!("{:?}", address.to_string())).collect::<Vec<_>>().join(", ");
    let rules = PREFIXES.map(|prefix| format!("[[policy.rule]]\naction = \"allow\"\nprefix = \"{prefix}\"\n"));
    format!(
        "# Written by `cargo xtask demo`.\n\
         listen = \"127.0.0.1:{port}\"\n\
         admin = \"off\"\n\
         static_dir = {page}\n\n\
         {}\n\
         [dns.zones]\n\"playground.test\" = [{resolvers}]\n",
        rules.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_allows_the_playground_and_asks_it_for_its_names() {
        let text = configuration(Path::new("/srv/the \"page\""), 8077, &["198.18.0.2".parse().unwrap()]);
        assert!(text.contains("static_dir = \"/srv/the \\\"page\\\"\""));
        assert!(text.contains("prefix = \"198.18.0.0/15\""));
        assert!(text.contains("\"playground.test\" = [\"198.18.0.2\"]"));
    }
}
