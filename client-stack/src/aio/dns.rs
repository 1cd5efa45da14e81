use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{StackHandle, TcpStream};
use crate::{Family, QueryId, ResolveError, TcpOptions};

/// RFC 8305 section 5: the recommended delay between two attempts.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

impl StackHandle {
    /// Addresses of a name, through the gateway's name servers. Literal addresses and cached names need no query. A name
    /// in another script is asked for by its A-labels (UTS 46, nontransitional).
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn resolve(&self, name: &str, family: Family) -> Result<Vec<IpAddr>, ResolveError> {
        let name = match name.is_ascii() {
            true => Cow::Borrowed(name),
            false => Cow::Owned(idna::domain_to_ascii(name).map_err(|_| ResolveError::InvalidName)?),
        };
        let (id, answer) = self.call(|machine, now| {
            let id = machine.stack.resolve(&name, family, now);
            let (sender, answer) = oneshot::channel();
            machine.queries.insert(id, sender);
            (id, answer)
        });
        let _query = Query { handle: self, id };
        answer.await.unwrap_or(Err(ResolveError::TunnelClosed))
    }

    /// Resolves a name and connects to the first of its addresses that answers; another attempt starts every 250 ms or
    /// as soon as one failed (RFC 8305 section 5).
    ///
    /// # Errors
    /// [`ResolveError`], or the first attempt's [`ConnectError`](crate::ConnectError), inside of the `io::Error`.
    pub async fn tcp_connect_host(&self, name: &str, port: u16, family: Family) -> io::Result<TcpStream> {
        let mut addresses = self.resolve(name, family).await?.into_iter();
        let mut attempts = JoinSet::new();
        let mut first_error = None;
        loop {
            if let Some(address) = addresses.next() {
                let handle = self.clone();
                let remote = SocketAddr::new(address, port);
                attempts.spawn(async move { handle.tcp_connect(remote, TcpOptions::default()).await });
            }
            let delay = if addresses.len() == 0 { Duration::MAX } else { ATTEMPT_DELAY };
            match tokio::time::timeout(delay, attempts.join_next()).await {
                Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
                Ok(Some(Ok(Err(error)))) => first_error = first_error.or(Some(error)),
                Ok(Some(Err(error))) => return Err(error.into()),
                Ok(None) => return Err(first_error.unwrap_or_else(|| ResolveError::NoData.into())),
                Err(_) => {}
            }
        }
    }
}

/// Forgets the query also when the caller has lost interest.
struct Query<'a> {
    handle: &'a StackHandle,
    id: QueryId,
}

impl Drop for Query<'_> {
    fn drop(&mut self) {
        self.handle.call(|machine, now| {
            if machine.queries.remove(&self.id).is_some() {
                machine.stack.cancel_resolve(self.id, now);
            }
        });
    }
}
