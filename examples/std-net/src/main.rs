//! `std::net` as any Rust program uses it, for a page: see the README.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, host, path] = &arguments[..] else { return Err(io::ErrorKind::InvalidInput.into()) };
    fetch(host, path)?;
    listen()?;
    datagrams()?;
    failures(host)
}

fn fetch(host: &str, path: &str) -> io::Result<()> {
    println!("addresses: {}", (host, 80).to_socket_addrs()?.count() > 1);
    let mut stream = TcpStream::connect((host, 80))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| answer.len() - at - 4);
    println!("body: {body}");
    Ok(())
}

fn listen() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut there = TcpStream::connect(listener.local_addr()?)?;
    let (mut here, peer) = listener.accept()?;
    println!("accepted: {}", peer == there.local_addr()?);
    there.set_nodelay(true)?;
    there.write_all(b"half")?;
    there.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    here.read_to_string(&mut text)?;
    println!("read to the end: {text}");
    Ok(())
}

fn datagrams() -> io::Result<()> {
    let (one, two) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    one.connect(two.local_addr()?)?;
    one.send(b"datagram")?;
    let mut buffer = [0; 16];
    let (length, from) = two.recv_from(&mut buffer)?;
    println!("datagram: {length} {}", from == one.local_addr()?);
    two.set_nonblocking(true)?;
    println!("nothing: {:?}", two.recv_from(&mut buffer).map_err(|error| error.kind()));
    two.set_nonblocking(false)?;
    // WASI's libc has no time limits for sockets, and says so.
    let limited = two.set_read_timeout(Some(Duration::from_millis(20))).and_then(|()| two.recv_from(&mut buffer));
    println!("time-out: {:?}", limited.map_err(|error| error.kind()));
    Ok(())
}

fn failures(host: &str) -> io::Result<()> {
    println!("refused: {:?}", TcpStream::connect((host, 1)).map(|_| ()).map_err(|error| error.kind()));
    let unknown = TcpStream::connect("nobody.playground.test:80");
    println!("unknown: {}", unknown.is_err());
    Ok(())
}
