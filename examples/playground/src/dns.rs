//! DNS over UDP and TCP: the playground's zone, and a plain forwarder for all other names.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::listen::{Binder, accept};
use crate::names::{Lookup, Names};

const DNS: u16 = 53;
const PATIENCE: Duration = Duration::from_secs(3);
/// Questions over UDP that are under way at once; further ones wait in the socket's buffer.
const AT_ONCE: usize = 1024;
/// The size that a client without EDNS accepts, RFC 1035 section 4.2.1.
const CLASSIC: usize = 512;

struct Server {
    names: Arc<Names>,
    upstream: Vec<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq)]
enum Transport {
    Udp,
    Tcp,
}

/// Serves on port 53, UDP and TCP.
pub fn serve(bind: &Binder, names: &Arc<Names>, upstream: &[SocketAddr]) -> io::Result<()> {
    let server = Arc::new(Server { names: names.clone(), upstream: upstream.to_vec() });
    tokio::spawn(datagrams(Arc::new(bind.udp(DNS)?), server.clone()));
    accept(bind.tcp(DNS)?, move |stream| {
        let server = server.clone();
        async move {
            let _ = stream_of_questions(stream, &server).await;
        }
    });
    Ok(())
}

async fn datagrams(socket: Arc<UdpSocket>, server: Arc<Server>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut buffer = vec![0; 65_535];
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let (question, socket, server) = (buffer[..length].to_vec(), socket.clone(), server.clone());
        tokio::spawn(async move {
            if let Some(answer) = server.answer(&question, Transport::Udp).await {
                let _ = socket.send_to(&answer, from).await;
            }
            drop(place);
        });
    }
}

/// RFC 7766: several questions may come on one connection.
async fn stream_of_questions(mut stream: TcpStream, server: &Server) -> io::Result<()> {
    loop {
        let length = timeout(PATIENCE * 10, stream.read_u16()).await??;
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await?;
        let Some(answer) = server.answer(&question, Transport::Tcp).await else { return Ok(()) };
        stream.write_all(&prefixed(&answer)).await?;
    }
}

/// RFC 1035 section 4.2.2: the length in two octets goes before.
fn prefixed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), message].concat()
}

impl Server {
    /// None when the message is no question at all: silence is then the only safe answer.
    async fn answer(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let query = Message::from_vec(question).ok()?;
        if query.metadata.message_type != MessageType::Query {
            return None;
        }
        let answer = match self.resolve(&query) {
            Some(answer) => answer,
            None => match self.forward(question, transport).await {
                Some(answer) => return Some(answer),
                None => reply(&query, ResponseCode::ServFail),
            },
        };
        let octets = answer.to_vec().ok()?;
        let limit = usize::from(query.edns.as_ref().map_or(CLASSIC as u16, Edns::max_payload)).max(CLASSIC);
        if transport == Transport::Udp && octets.len() > limit {
            return answer.truncate().to_vec().ok();
        }
        Some(octets)
    }

    /// The answer from our own zone; None for a name of another one.
    fn resolve(&self, query: &Message) -> Option<Message> {
        if query.metadata.op_code != OpCode::Query {
            return Some(reply(query, ResponseCode::NotImp));
        }
        let [question] = query.queries.as_slice() else { return Some(reply(query, ResponseCode::FormErr)) };
        let mut answer = reply(query, ResponseCode::NoError);
        answer.metadata.authoritative = true;
        match self.names.lookup(question.name(), question.query_type()) {
            Lookup::Foreign => return None,
            Lookup::Found(records) if records.is_empty() => answer.authorities.push(self.names.authority()),
            Lookup::Found(records) => answer.answers = records,
            Lookup::NoSuchName => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                answer.authorities.push(self.names.authority());
            }
        }
        Some(answer)
    }

    async fn forward(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        for &resolver in &self.upstream {
            let asked = async {
                match transport {
                    Transport::Udp => ask_by_udp(question, resolver).await,
                    Transport::Tcp => ask_by_tcp(question, resolver).await,
                }
            };
            if let Ok(Ok(answer)) = timeout(PATIENCE, asked).await {
                return Some(answer);
            }
        }
        None
    }
}

fn reply(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&query.metadata);
    reply.metadata.response_code = code;
    reply.metadata.recursion_available = true;
    reply.queries = query.queries.clone();
    if query.edns.is_some() {
        // RFC 6891 section 6.1.1: who asks with an OPT record gets one.
        reply.set_edns(Edns::new());
    }
    reply
}

async fn ask_by_udp(question: &[u8], resolver: SocketAddr) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match resolver {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 65_535];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn ask_by_tcp(question: &[u8], resolver: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    stream.write_all(&prefixed(question)).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
