//! Standard input and output joined to a connection.

use std::cell::Cell;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};
use webtun_stack::Datagram;
use webtun_stack::aio::{TcpStream, UdpSocket};

/// Octets read at a time.
const CHUNK: usize = 64 * 1024;
/// The largest datagram that fits both families (RFC 768; 40 octets of IPv6 header).
const MAX_DATAGRAM: usize = 65_487;
/// How long the peer may take to acknowledge the last octets and the FIN.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a relay ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct RelayOptions {
    /// Send a FIN after the end of the input.
    pub half_close: bool,
    /// End after so long without an octet in either direction.
    pub idle_timeout: Option<Duration>,
}

/// Copies both ways until both ends are reached: that of the input and that of the peer's data. Each direction ends for
/// itself, so that a peer that half-closes is still sent to, and the other way round.
///
/// # Errors
/// Of the connection, the input or the output.
pub async fn tcp(stream: TcpStream, options: RelayOptions) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let moved = Cell::new(Instant::now());
    let up = async {
        copy(&mut tokio::io::stdin(), &mut writer, &moved).await?;
        if options.half_close { writer.shutdown().await } else { Ok(()) }
    };
    let down = async { copy(&mut reader, &mut tokio::io::stdout(), &moved).await };
    let both = async { tokio::try_join!(up, down).map(|_| ()) };
    unless_idle(options.idle_timeout, &moved, both).await?;
    let mut stream = reader.unsplit(writer);
    stream.shutdown().await?;
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, stream.closed()).await;
    Ok(())
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &Cell<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let len = from.read(&mut buffer).await?;
        moved.set(Instant::now());
        if len == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..len]).await?;
        to.flush().await?;
    }
}

/// Each read of the input is one datagram to `peer`, and the payloads of its datagrams are the output. A listener has no
/// peer yet: the sender of the first datagram becomes it.
///
/// UDP has no end: without an idle timeout this runs until it is interrupted.
///
/// # Errors
/// Of the socket (say, that the peer's port is closed), the input or the output.
pub async fn udp(socket: &UdpSocket, peer: Option<SocketAddr>, idle_timeout: Option<Duration>) -> io::Result<()> {
    let mut output = tokio::io::stdout();
    let peer = match peer {
        Some(peer) => peer,
        None => {
            let first = socket.recv_from().await?;
            print(&mut output, &first).await?;
            first.from
        }
    };
    socket.connect(peer)?;
    let moved = Cell::new(Instant::now());
    let both = async { tokio::try_join!(send(socket, &moved), receive(socket, &mut output, &moved)).map(|_| ()) };
    unless_idle(idle_timeout, &moved, both).await
}

async fn send(socket: &UdpSocket, moved: &Cell<Instant>) -> io::Result<()> {
    let mut input = tokio::io::stdin();
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let len = input.read(&mut buffer).await?;
        if len == 0 {
            return pending().await;
        }
        socket.send_to(&buffer[..len], None).await?;
        moved.set(Instant::now());
    }
}

async fn receive(socket: &UdpSocket, output: &mut (impl AsyncWrite + Unpin), moved: &Cell<Instant>) -> io::Result<()> {
    loop {
        print(output, &socket.recv().await?).await?;
        moved.set(Instant::now());
    }
}

async fn print(output: &mut (impl AsyncWrite + Unpin), datagram: &Datagram) -> io::Result<()> {
    output.write_all(&datagram.payload).await?;
    output.flush().await
}

/// Gives up on `work`, without an error, when `limit` has passed since `moved`.
async fn unless_idle(
    limit: Option<Duration>,
    moved: &Cell<Instant>,
    work: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let idle = async {
        let Some(limit) = limit else { return pending().await };
        while moved.get().elapsed() < limit {
            sleep_until(moved.get() + limit).await;
        }
    };
    tokio::select! {
        result = work => result,
        () = idle => Ok(()),
    }
}
