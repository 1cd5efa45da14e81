//! Async handles over the pure [`Stack`](crate::Stack), and the one loop that drives it: tokio and tokio-tungstenite.
//!
//! ```no_run
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use webtun_stack::{Family, aio};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let net = aio::connect("ws://127.0.0.1:8077/", aio::ConnectOptions::default()).await?;
//! let mut stream = net.tcp_connect_host("echo.playground.test", 7, Family::Any).await?;
//! stream.write_all(b"hello").await?;
//! let mut answer = [0; 5];
//! stream.read_exact(&mut answer).await?;
//! net.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Data takes this way, each arrow a call under one lock, with no queue of this module's in between:
//!
//! ```text
//! TcpStream::poll_write -> Stack::tcp_send,  wake the loop -> Stack::poll_transmit -> Transport (while it takes some)
//! Transport -> Stack::handle_message -> events -> wake the task -> TcpStream::poll_read -> Stack::tcp_recv
//! ```
//!
//! Handles, streams and sockets keep the tunnel open together: when the last is dropped, the session is closed.

mod clock;
mod connect;
mod dns;
mod error;
mod handle;
mod listener;
mod machine;
mod packets;
mod ping;
mod port_map;
mod runner;
mod shared;
mod stack_machine;
mod tcp;
mod transport;
mod udp;
mod websocket;

pub use connect::{ConnectOptions, OpenError, connect, connect_with};
pub use handle::StackHandle;
pub use listener::TcpListener;
pub use packets::PacketTunnel;
pub use ping::{PingFailure, Pong};
pub use port_map::MappedPort;
pub use tcp::TcpStream;
pub use transport::{Connector, Transport};
pub use udp::UdpSocket;
pub use websocket::WebSocketConnector;
