//! Echo, discard and chargen in datagrams (RFC 862, 863 and 864).

use std::io;

use tokio::net::UdpSocket;

use crate::listen::Binder;
use crate::tcp::line;

const ECHO: u16 = 7;
const DISCARD: u16 = 9;
const CHARGEN: u16 = 19;
/// The largest payload that UDP has over either family, and one octet to see that nothing was cut.
const LARGEST: usize = 65_536;

/// Serves on the ports 7, 9 and 19.
pub fn serve(bind: &Binder) -> io::Result<()> {
    let (echo, discard, chargen) = (bind.udp(ECHO)?, bind.udp(DISCARD)?, bind.udp(CHARGEN)?);
    tokio::spawn(answer(echo, |datagram| Some(datagram.to_vec())));
    tokio::spawn(answer(discard, |_| None));
    // RFC 864 asks for a random length of at most 512; the length of the question makes it repeatable.
    tokio::spawn(answer(chargen, |datagram| Some((0..).flat_map(line).take(datagram.len() % 513).collect())));
    Ok(())
}

async fn answer(socket: UdpSocket, reply: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let mut buffer = vec![0; LARGEST];
    loop {
        // An error here is an ICMP message about an earlier reply.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(reply) = reply(&buffer[..length]) {
            let _ = socket.send_to(&reply, from).await;
        }
    }
}
