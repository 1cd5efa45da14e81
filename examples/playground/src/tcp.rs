//! The small TCP services: echo (RFC 862), discard (RFC 863), chargen (RFC 864), and peers that misbehave.

use std::io;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::blob::hex;
use crate::listen::{Binder, accept};

/// Accepts and closes at once.
const CLOSES: u16 = 3;
/// Accepts and never reads.
const NEVER_READS: u16 = 4;
/// Resets the connection when the first octet arrives.
const RESETS: u16 = 5;
/// Stops reading for five seconds after the first octets, then behaves as the sink.
const STALLS: u16 = 6;
/// Sends back what it gets.
const ECHO: u16 = 7;
/// Reads to the end of the stream, then answers with count and hash.
const SINK: u16 = 8;
/// Reads and says nothing.
const DISCARD: u16 = 9;
/// Sends characters until the connection ends.
const CHARGEN: u16 = 19;

const STALL: Duration = Duration::from_secs(5);
/// How long a connection that is never read is kept: its end cannot be seen without reading.
const HOLD: Duration = Duration::from_secs(600);
const CHUNK: usize = 64 << 10;

/// Serves on all the ports above.
pub fn serve(bind: &Binder) -> io::Result<()> {
    accept(bind.tcp(CLOSES)?, |stream| async move { drop(stream) });
    accept(bind.tcp(NEVER_READS)?, |stream| async move {
        tokio::time::sleep(HOLD).await;
        drop(stream);
    });
    accept(bind.tcp(RESETS)?, |stream| finish(reset(stream)));
    accept(bind.tcp(STALLS)?, |stream| finish(stall(stream)));
    accept(bind.tcp(ECHO)?, |stream| finish(echo(stream)));
    accept(bind.tcp(SINK)?, |stream| finish(sink(stream)));
    accept(bind.tcp(DISCARD)?, |stream| finish(discard(stream)));
    accept(bind.tcp(CHARGEN)?, |stream| finish(chargen(stream)));
    Ok(())
}

/// What a sink answers: the octets it got and their SHA-256, as JSON in one line.
pub fn receipt(octets: u64, hash: Sha256) -> String {
    format!("{{\"octets\":{octets},\"sha256\":\"{}\"}}\n", hex(&hash.finalize()))
}

/// A connection that breaks is the client's business.
async fn finish(service: impl Future<Output = io::Result<()>>) {
    let _ = service.await;
}

async fn reset(mut stream: TcpStream) -> io::Result<()> {
    stream.read_u8().await?;
    stream.set_zero_linger()
}

async fn stall(stream: TcpStream) -> io::Result<()> {
    stream.readable().await?;
    tokio::time::sleep(STALL).await;
    sink(stream).await
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..length]).await?;
    }
}

async fn sink(mut stream: TcpStream) -> io::Result<()> {
    let (mut hash, mut octets, mut buffer) = (Sha256::new(), 0u64, vec![0; CHUNK]);
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        octets += length as u64;
    }
    stream.write_all(receipt(octets, hash).as_bytes()).await?;
    stream.shutdown().await
}

async fn discard(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    while stream.read(&mut buffer).await? != 0 {}
    Ok(())
}

async fn chargen(stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let block: Vec<u8> = (0..8 * 95).flat_map(line).collect();
    // What arrives is thrown away (RFC 864), and its end is no reason to stop sending.
    tokio::spawn(finish(async move {
        let (mut reader, mut buffer) = (reader, vec![0; 4096]);
        while reader.read(&mut buffer).await? != 0 {}
        Ok(())
    }));
    loop {
        writer.write_all(&block).await?;
    }
}

/// One line of the pattern that RFC 864 suggests: 72 of the 95 printing characters, rotated by one each line.
pub fn line(number: usize) -> impl Iterator<Item = u8> {
    (0..72).map(move |at| b' ' + ((number + at) % 95) as u8).chain(*b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chargen_lines_have_72_characters_and_rotate() {
        let first: Vec<u8> = line(0).collect();
        assert_eq!(first.len(), 74);
        assert!(first.starts_with(b" !\"#") && first.ends_with(b"g\r\n"));
        assert!(line(94).collect::<Vec<_>>().starts_with(b"~ !"));
    }
}
