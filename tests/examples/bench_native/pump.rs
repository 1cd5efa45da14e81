//! The other wall beside the bare WebSocket: what one TUN device gives is handed to another one, with offload, and nothing is
//! between. The TCP at both ends is the kernel's.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::Builder;
use webtun_gateway::config::{Addresses, Config, PortRange};
use webtun_gateway::io::egress::{Device, Egress};
use webtun_tests::lab::{Lab, OUTSIDE, REMOTE};
use webtun_tests::netns::Entrance;
use webtun_wire::Instant;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const DEVICE: &str = "wtpump";
/// Packets that are handed over before the other device has its turn.
const AT_ONCE: usize = 16;
/// Those that kernels give to connections by themselves.
const PORTS: PortRange = PortRange { first: 32_768, last: 60_999 };

/// Ends the lab's gateway and lies in its place until this process ends; the devices go with their namespaces. The kernel of the
/// client's namespace has a way to the remote then.
pub fn lay(lab: &mut Lab) -> Outcome<()> {
    lab.gateway_process.stop();
    let (ends, folder) = ([lab.client.entrance(), lab.gateway.entrance()], lab.file("pump"));
    let (ready, is_ready) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let pumped = pump(ends, folder, &ready);
        eprintln!("the pump has ended: {pumped:?}");
    });
    let address: String = is_ready.recv_timeout(Duration::from_secs(10))?;
    // There it is the kernel's own, and nothing is translated.
    lab.client.exec("nft", &["flush", "ruleset"]);
    lab.client.ip(&["address", "add", &address, "dev", DEVICE]);
    lab.client.ip(&["route", "add", REMOTE[0], "dev", DEVICE, "src", &address]);
    Ok(())
}

fn pump(ends: [Entrance; 2], folder: PathBuf, ready: &mpsc::SyncSender<String>) -> Outcome<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let [near, far] = ends;
        near.enter();
        let (mut near, address) = open(folder.join("near"))?;
        far.enter();
        let (mut far, _) = open(folder.join("far"))?;
        ready.send(address)?;
        let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
        loop {
            tokio::select! {
                ready = near.readable() => ready?,
                ready = far.readable() => ready?,
            }
            hand_over(&mut near, &mut far, &mut up)?;
            hand_over(&mut far, &mut near, &mut down)?;
        }
    })
}

/// A device as a gateway has it, and the address behind it.
fn open(runtime_dir: PathBuf) -> Outcome<(Device, String)> {
    let mut config = Config { runtime_dir, ..Config::default() };
    config.tun.name = DEVICE.to_owned();
    config.external.port_range = PORTS;
    config.external.announced_ipv4 = Addresses::one(OUTSIDE.parse()?);
    let mut egress = Egress::set_up(&config, 0, 1)?;
    // Whoever undoes them would have to be in this namespace.
    std::mem::forget(egress.changes.take());
    let address = egress.surroundings.slices.first().and_then(|slice| slice.external.first()).ok_or("no address")?;
    let way = egress.ways.pop().ok_or("no device")?;
    let dataplanes = config.dataplanes(&egress.surroundings);
    let device = Device::open(way, dataplanes.first().ok_or("no dataplane")?, [0; 32], Instant::ZERO)?;
    Ok((device, address.address.to_string()))
}

fn hand_over(from: &mut Device, to: &mut Device, buffer: &mut BytesMut) -> io::Result<()> {
    for _ in 0..AT_ONCE {
        match from.try_recv(buffer, Instant::ZERO) {
            // What the other kernel does not take is lost.
            Ok((packet, offload)) => drop(to.send(&packet, &offload, Instant::ZERO)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
