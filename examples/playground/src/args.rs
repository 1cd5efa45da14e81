//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;

/// Real servers for the demo, the tests and the benchmarks: HTTP, HTTPS, echo, discard, chargen, DNS, iperf3.
#[derive(Debug, Parser)]
#[command(name = "webtun-playground", version)]
pub struct Args {
    /// Address to serve on, and the address of the playground's names; may be given several times
    #[arg(long = "address", default_values = ["127.0.0.1", "::1"])]
    pub addresses: Vec<IpAddr>,

    /// Added to every port, for a run without privileges (HTTP on 10080 with --port-offset 10000)
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=50_000))]
    pub port_offset: u16,

    /// One more name: `host=198.18.0.1` makes host.playground.test; may be given several times
    #[arg(long = "name", value_name = "LABEL=ADDRESS", value_parser = label_and_address)]
    pub names: Vec<(String, IpAddr)>,

    /// Resolver (ADDRESS:PORT) for names outside playground.test; without one they fail at once
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub upstream: Vec<SocketAddr>,

    /// Where to write the certificate (PEM) of the authority that signed the HTTPS server's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// A folder to serve by HTTP below /files/
    #[arg(long, value_name = "FOLDER")]
    pub files: Option<PathBuf>,
}

fn label_and_address(text: &str) -> Result<(String, IpAddr), String> {
    let (label, address) = text.split_once('=').ok_or("expected LABEL=ADDRESS, as in host=198.18.0.1")?;
    if label.is_empty() || !label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-') {
        return Err(format!("'{label}' is no label of a host name"));
    }
    let address = address.parse().map_err(|_| format!("'{address}' is no IP address"))?;
    Ok((label.to_ascii_lowercase(), address))
}
