use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::{Connector, OpenError};

/// How long a WebSocket may take to open, TCP and TLS included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens WebSockets with tokio-tungstenite; `wss://` needs the feature `tls`.
#[derive(Clone, Debug)]
pub struct WebSocketConnector {
    request: Request,
}

impl WebSocketConnector {
    /// For `ws://` and `wss://` addresses. The token travels as the subprotocol `bearer.<token>`.
    ///
    /// # Errors
    /// [`OpenError::Url`] and [`OpenError::Token`].
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, OpenError> {
        let mut request = url.into_client_request().map_err(|error| OpenError::Url(error.to_string()))?;
        match request.uri().scheme_str() {
            Some("ws") => {}
            Some("wss") if cfg!(feature = "tls") => {}
            Some("wss") => return Err(OpenError::Url("wss:// needs the feature `tls`".into())),
            _ => return Err(OpenError::Url("expected ws:// or wss://".into())),
        }
        let protocols = match token {
            None => webtun_wire::SUBPROTOCOL.to_owned(),
            Some(token) if is_token(token) => format!("{}, bearer.{token}", webtun_wire::SUBPROTOCOL),
            Some(_) => return Err(OpenError::Token),
        };
        let mut value = HeaderValue::from_str(&protocols).map_err(|_| OpenError::Token)?;
        value.set_sensitive(true);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
        Ok(Self { request })
    }
}

/// Subprotocols are tokens (RFC 6455 section 4.1, RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet))
}

impl Connector for WebSocketConnector {
    type Transport = WebSocket;

    fn connect(&self) -> impl Future<Output = io::Result<WebSocket>> + Send + 'static {
        let request = self.request.clone();
        async move {
            #[cfg(feature = "tls")]
            install_tls_provider();
            let config = WebSocketConfig::default()
                .max_message_size(Some(webtun_wire::MAX_MESSAGE_LEN))
                .max_frame_size(Some(webtun_wire::MAX_MESSAGE_LEN));
            let opened = tokio::time::timeout(OPEN_TIMEOUT, connect_async_with_config(request, Some(config), true));
            let (socket, _) = opened.await?.map_err(into_io)?;
            Ok(WebSocket { socket, must_flush: false })
        }
    }
}

/// Where a program links several TLS providers, rustls wants one to be chosen. A choice made before stays.
#[cfg(feature = "tls")]
fn install_tls_provider() {
    use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
    if CryptoProvider::get_default().is_none() {
        // The error means that another thread was faster, which is as good.
        let _ = ring::default_provider().install_default();
    }
}

/// A WebSocket to a gateway.
#[derive(Debug)]
pub struct WebSocket {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    must_flush: bool,
}

impl Stream for WebSocket {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.must_flush && Pin::new(&mut self.socket).poll_flush(context).map_err(into_io)?.is_ready() {
                self.must_flush = false;
            }
            return Poll::Ready(match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                None | Some(Ok(Message::Close(_))) => None,
                Some(Err(error)) => Some(Err(into_io(error))),
                Some(Ok(Message::Binary(message))) => Some(Ok(message)),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                    // The answer to a ping waits in the socket's buffer.
                    self.must_flush = true;
                    continue;
                }
                Some(Ok(Message::Text(_))) => {
                    Some(Err(io::Error::new(io::ErrorKind::InvalidData, "text message in a binary protocol")))
                }
            });
        }
    }
}

impl Sink<Bytes> for WebSocket {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_ready(context).map_err(into_io)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> io::Result<()> {
        Pin::new(&mut self.socket).start_send(Message::Binary(message)).map_err(into_io)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(into_io)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context).map_err(into_io)
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::Http(response) => {
            io::Error::other(format!("the server answered {} instead of opening a WebSocket", response.status()))
        }
        error => io::Error::other(error),
    }
}
