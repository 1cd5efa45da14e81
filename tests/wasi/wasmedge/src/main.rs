//! A program for WasmEdge, by the crate that such programs use; and Rust's own `std::net` over its descriptors, which
//! calls the functions that wasi_snapshot_preview1 has itself.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::time::{Duration, SystemTime};

use wasmedge_wasi_socket::poll::{EventType, Subscription, poll};
use wasmedge_wasi_socket::socket::{AddressFamily, Socket, SocketOptLevel, SocketOptName, SocketType};
use wasmedge_wasi_socket::{TcpListener, TcpStream, UdpSocket};

const HOST: &str = "www.playground.test";

fn main() -> io::Result<()> {
    echo()?;
    fetch("/blob?size=300000")?;
    listen()?;
    standard()?;
    datagrams()?;
    options()?;
    waiting()?;
    failures();
    Ok(())
}

fn echo() -> io::Result<()> {
    let mut stream = TcpStream::connect(("echo.playground.test", 7))?;
    stream.write_all(b"hello")?;
    let mut buffer = [0; 5];
    stream.read_exact(&mut buffer)?;
    println!("echoed: {}", String::from_utf8_lossy(&buffer));
    println!("peer: {}", stream.peer_addr()?.port());
    stream.shutdown(Shutdown::Write)?;
    println!("end: {}", stream.read(&mut buffer)?);
    Ok(())
}

fn fetch(path: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect((HOST, 80))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| answer.len() - at - 4);
    println!("body: {body}");
    Ok(())
}

fn listen() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0", false)?;
    let mut there = TcpStream::connect(listener.local_addr()?)?;
    let (mut here, peer) = listener.accept(false)?;
    println!("accepted: {}", peer == there.local_addr()?);
    there.write_all(b"half")?;
    there.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    here.read_to_string(&mut text)?;
    println!("read to the end: {text}");
    Ok(())
}

/// The same by `std::net`, given the descriptors.
fn standard() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0", false)?;
    let address = listener.local_addr()?;
    // SAFETY: the descriptor is given up by its first owner.
    let listener = unsafe { std::net::TcpListener::from_raw_fd(listener.into_raw_fd()) };
    let there = TcpStream::connect(address)?;
    // SAFETY: as above.
    let mut there = unsafe { std::net::TcpStream::from_raw_fd(there.into_raw_fd()) };
    let (mut here, _) = listener.accept()?;
    there.write_all(b"standard")?;
    there.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    here.read_to_string(&mut text)?;
    listener.set_nonblocking(true)?;
    println!("std: {text} {:?}", listener.accept().map(|_| ()).map_err(|error| error.kind()));
    Ok(())
}

fn datagrams() -> io::Result<()> {
    let bind = || -> io::Result<Socket> {
        let socket = Socket::new(AddressFamily::Inet4, SocketType::Datagram)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)))?;
        Ok(socket)
    };
    let (one, two) = (bind()?, bind()?);
    one.send_to(b"datagram", two.get_local()?)?;
    let mut buffer = [0; 16];
    let (length, from) = two.recv_from(&mut buffer)?;
    println!("datagram: {length} {}", from == one.get_local()?);
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.send_to(b"outside", ("echo.playground.test", 7))?;
    let (length, from) = socket.recv_from(&mut buffer)?;
    println!("outside: {} {}", String::from_utf8_lossy(&buffer[..length]), from.port());
    Ok(())
}

fn options() -> io::Result<()> {
    let socket = Socket::new(AddressFamily::Inet4, SocketType::Datagram)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)))?;
    socket.set_recv_timeout(Some(Duration::from_millis(20)))?;
    let mut buffer = [0; 4];
    println!(
        "time: {:?} {:?}",
        socket.get_recv_timeout()?,
        socket.recv_from(&mut buffer).map_err(|error| error.kind())
    );
    socket.setsockopt(SocketOptLevel::SolSocket, SocketOptName::SoReuseaddr, 1i32)?;
    println!("reuse: {} datagram: {:?}", socket.reuse_address()?, socket.r#type()?);
    Ok(())
}

fn waiting() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0", true)?;
    let soon = Some(SystemTime::now() + Duration::from_millis(30));
    println!("nobody: {}", kinds(Subscription::io(1, &listener, true, false, soon))?);
    let there = TcpStream::connect(listener.local_addr()?)?;
    println!("somebody: {}", kinds(Subscription::io(1, &listener, true, false, None))?);
    println!("room: {}", kinds(Subscription::io(2, &there, true, true, None))?);
    Ok(())
}

fn kinds(subscription: Subscription) -> io::Result<String> {
    let events = poll(&[subscription])?;
    let kinds = events.iter().map(|event| match &event.event_type {
        EventType::Timeout => "time".to_owned(),
        EventType::Error(error) => error.to_string(),
        EventType::Read => "read".to_owned(),
        EventType::Write => "write".to_owned(),
    });
    Ok(kinds.collect::<Vec<_>>().join(" "))
}

fn failures() {
    let refused = TcpStream::connect((HOST, 1)).map(|_| ());
    println!("refused: {:?}", refused.map_err(|error| error.kind()));
    let unknown = TcpStream::connect("nobody.playground.test:80").map(|_| ());
    println!("unknown: {:?}", unknown.map_err(|error| error.raw_os_error()));
}
