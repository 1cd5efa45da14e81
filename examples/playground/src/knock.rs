//! Knocks at a port of the one who asks: the way to see that an inbound port is reached from outside.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);
/// Of the answer's first line; what is longer is cut.
const LONGEST: u64 = 1000;

/// Connects to `port` at `peer`, says one line, and returns the first line of the answer. Only the asker's own address
/// is knocked at, so nobody can be made to knock at others.
pub async fn knock(peer: IpAddr, port: u16) -> Result<String, String> {
    let at = SocketAddr::new(peer, port);
    match timeout(PATIENCE, converse(at)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("{at}: {error}")),
        Err(_) => Err(format!("{at}: nobody answered within {} s", PATIENCE.as_secs())),
    }
}

async fn converse(at: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    let own = stream.local_addr()?;
    stream.write_all(format!("knock knock from {own}\n").as_bytes()).await?;
    let mut line = Vec::new();
    BufReader::new(stream.take(LONGEST)).read_until(b'\n', &mut line).await?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
