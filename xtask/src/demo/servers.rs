//! The playground and the gateway.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::container::{Image, Start};
use crate::daemon::Daemon;
use crate::demo::Egress;
use crate::demo::network::{NAMESPACE, Network, PREFIXES};
use crate::{Result, container};

/// Where a client finds them.
#[derive(Clone)]
pub struct Place {
    port: u16,
    /// The certificate of the authority that the playground's HTTPS server answers with.
    pub ca_file: PathBuf,
    /// The gateway's program, for another gateway of the same build.
    pub gateway_program: PathBuf,
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

/// What to start.
pub struct Setup<'a> {
    /// Where the binaries are.
    pub programs: &'a Path,
    /// For configuration and logs.
    pub folder: &'a Path,
    /// What the gateway serves.
    pub page: &'a Path,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// How its packets leave.
    pub egress: Egress,
    /// The gateway is the one in this image.
    pub image: Option<Image>,
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
    /// The playground first, and the gateway before it.
    pub async fn start(setup: &Setup<'_>) -> Result<Self> {
        let &Setup { programs, folder, page, port, .. } = setup;
        let network = Network::create()?;
        let ca_file = folder.join("ca.pem");
        let mut playground = start_playground(programs, folder, &network, &ca_file).await?;
        let file = folder.join("gateway.toml");
        std::fs::write(&file, configuration(page, port, &network.playground()))?;
        match start_gateway(setup, &file).await {
            Ok(gateway) => {
                let place = Place { port, ca_file, gateway_program: programs.join("webtun-gateway") };
                Ok(Self { place, gateway, playground, _network: network })
            }
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
    // What the guest of examples/vm installs; it may be made while the playground runs.
    args.extend(["--files".into(), crate::vm::folder().join("packages").display().to_string()]);
    args.extend(network.playground().iter().flat_map(|address| ["--address".into(), address.to_string()]));
    args.extend(network.names().iter().flat_map(|(name, address)| ["--name".into(), format!("{name}={address}")]));
    let program = programs.join("webtun-playground");
    Daemon::start(&program, &args, "ready ", folder.join("playground.log"), Some(NAMESPACE)).await
}

async fn start_gateway(setup: &Setup<'_>, file: &Path) -> Result<Daemon> {
    let gateway = setup.programs.join("webtun-gateway");
    let log = setup.folder.join("gateway.log");
    if let Some(image) = &setup.image {
        let mut words = confined(image, setup, file)?.into_iter();
        let program = words.next().ok_or("no command")?;
        return Daemon::start(Path::new(&program), &words.collect::<Vec<_>>(), "listening on ", log, None).await;
    }
    let (program, mut args) = match setup.egress {
        Egress::Tun => (gateway, vec!["--egress".into(), "tun".into()]),
        Egress::User => {
            let program = gateway.display().to_string();
            let args = ["--bounding-set=-all", "--inh-caps=-all", "--", &program, "--egress", "user"];
            ("setpriv".into(), args.map(String::from).to_vec())
        }
    };
    args.extend(["--config".into(), file.display().to_string()]);
    Daemon::start(&program, &args, "listening on ", log, None).await
}

/// As in a container with the network of its host. What the image's variables say otherwise, flags put right.
fn confined(image: &Image, setup: &Setup<'_>, file: &Path) -> Result<Vec<String>> {
    let tun = setup.egress == Egress::Tun;
    let flags = [
        format!("--listen=127.0.0.1:{}", setup.port),
        format!("--egress={}", if tun { "tun" } else { "user" }),
        "--static-dir=/srv/webtun".into(),
    ];
    let start = Start { tun, file: Some(file), arguments: &flags, ..Start::default() };
    container::command(image, &setup.folder.join("container"), &start)
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
