//! The playground and the gateway.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::command::Command;
use crate::container::{Image, Start};
use crate::daemon::Daemon;
use crate::demo::Egress;
use crate::demo::network::{NAMESPACE, Network, PREFIXES};
use crate::{Result, container, workspace};

/// Where a client finds them.
#[derive(Clone)]
pub struct Place {
    port: u16,
    /// The certificate of the authority that the playground's HTTPS server answers with.
    pub ca_file: PathBuf,
    /// The gateway's program, for another gateway of the same build.
    pub gateway_program: PathBuf,
    /// How that one's packets are to leave too.
    pub egress: Egress,
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
        let own =
            Files { program: programs.join("webtun-gateway"), page: page.into(), file: folder.join("gateway.toml") };
        let is_nobodys = setup.egress == Egress::User && setup.image.is_none() && workspace::has_users();
        let files = if is_nobodys { own.for_everybody()? } else { own };
        std::fs::write(&files.file, configuration(&files.page, port, &network.playground()))?;
        match start_gateway(setup, &files).await {
            Ok(gateway) => {
                let place = Place { port, ca_file, gateway_program: files.program, egress: setup.egress };
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

/// What a gateway is made of.
struct Files {
    program: PathBuf,
    page: PathBuf,
    file: PathBuf,
}

impl Files {
    /// The same where every user finds it, as the build's folder may be closed to others. In a mount namespace of our own.
    fn for_everybody(&self) -> Result<Self> {
        let folder = Path::new("/run/webtun-demo");
        let public =
            Self { program: folder.join("gateway"), page: folder.join("page"), file: folder.join("gateway.toml") };
        std::fs::create_dir_all(&public.page)?;
        std::fs::write(&public.program, [])?;
        for (own, public) in [(&self.program, &public.program), (&self.page, &public.page)] {
            Command::new("mount").args(["--bind"]).args([own, public]).output()?;
        }
        Ok(public)
    }
}

async fn start_gateway(setup: &Setup<'_>, files: &Files) -> Result<Daemon> {
    let log = setup.folder.join("gateway.log");
    if let Some(image) = &setup.image {
        let mut words = confined(image, setup, &files.file)?.into_iter();
        let program = words.next().ok_or("no command")?;
        return Daemon::start(Path::new(&program), &words.collect::<Vec<_>>(), "listening on ", log, None).await;
    }
    let mut args = vec!["--egress".into(), setup.egress.name().into()];
    args.extend(["--config".into(), files.file.display().to_string()]);
    let program = match setup.egress {
        Egress::Tun => files.program.clone(),
        Egress::User => {
            let program = files.program.display().to_string();
            args.splice(0..0, without_privilege().into_iter().chain(["--".into(), program]));
            "setpriv".into()
        }
    };
    Daemon::start(&program, &args, "listening on ", log, None).await
}

/// Flags of setpriv: no capability, and where there are other users than root, nobody.
fn without_privilege() -> Vec<String> {
    let mut flags = vec!["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
    if workspace::has_users() {
        flags.extend(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    flags.into_iter().map(String::from).collect()
}

/// As in a container with the network of its host. What the image's variables say otherwise, flags put right.
fn confined(image: &Image, setup: &Setup<'_>, file: &Path) -> Result<Vec<String>> {
    let tun = setup.egress == Egress::Tun;
    let flags = [
        format!("--listen=127.0.0.1:{}", setup.port),
        format!("--egress={}", setup.egress.name()),
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
