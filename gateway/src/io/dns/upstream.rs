use super::message::{Query, is_truncated};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const PORT: u16 = 53;

/// Asks one resolver over UDP, and over TCP where the answer does not fit. Each has `patience`.
pub(super) async fn ask(resolver: IpAddr, query: &Query, patience: Duration) -> io::Result<Vec<u8>> {
    let remote = SocketAddr::new(resolver, PORT);
    let answer = timeout(patience, over_udp(remote, query)).await??;
    if !is_truncated(&answer) {
        return Ok(answer);
    }
    timeout(patience, over_tcp(remote, query)).await?
}

/// A fresh socket, so a fresh port, and a random id for each query (RFC 5452 section 9.2).
async fn over_udp(remote: SocketAddr, query: &Query) -> io::Result<Vec<u8>> {
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(remote).await?;
    let id = random_id()?;
    socket.send(&query.with_id(id)).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let len = socket.recv(&mut buffer).await?;
        if query.is_answered_by(&buffer[..len], id) {
            buffer.truncate(len);
            return Ok(buffer);
        }
    }
}

/// Messages are preceded by their length (RFC 1035 section 4.2.2).
async fn over_tcp(remote: SocketAddr, query: &Query) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(remote).await?;
    let id = random_id()?;
    let message = query.with_id(id);
    let len = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    stream.write_all(&[&len.to_be_bytes(), message.as_slice()].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if query.is_answered_by(&answer, id) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn random_id() -> io::Result<u16> {
    getrandom::u32().map(|random| random as u16).map_err(io::Error::other)
}
