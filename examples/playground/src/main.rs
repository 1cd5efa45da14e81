//! Real servers for the demo, the tests and the benchmarks. README.md says which port does what.

mod args;
mod blob;
mod dns;
mod http;
mod iperf;
mod knock;
mod listen;
mod names;
mod tcp;
mod tls;
mod udp;

use std::error::Error;
use std::sync::Arc;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::names::Names;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    raise_descriptor_limit();
    let names = Arc::new(Names::new(&args.addresses, &args.names));
    let tls = tls::acceptor(&args.addresses, args.ca_file.as_deref())?;
    let mut children = Vec::new();
    for &address in &args.addresses {
        let bind = listen::Binder { address, offset: args.port_offset };
        http::serve(&bind, &tls, args.files.as_deref())?;
        tcp::serve(&bind)?;
        udp::serve(&bind)?;
        dns::serve(&bind, &names, &args.upstream)?;
        children.extend(iperf::start(&bind));
    }
    println!("ready {}", args.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminated.recv() => {}
    }
    Ok(())
}

/// A shell's usual soft limit of 1,024 descriptors would refuse the thousandth connection.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        eprintln!("webtun-playground: the limit of open files stays as it is: {error}");
    }
}
