use std::net::SocketAddr;

use tokio::sync::watch;

use super::StackHandle;
use super::stack_machine::MapOutcome;
use crate::{MapId, PortMapError, PortMapOptions, PortMapping};

/// An external port that leads here. Renewed by the stack; given back when dropped.
#[derive(Debug)]
pub struct MappedPort {
    handle: StackHandle,
    id: MapId,
    outcome: watch::Receiver<MapOutcome>,
}

impl StackHandle {
    /// Asks the gateway for an external port.
    ///
    /// # Errors
    /// [`PortMapError`]: it gives none.
    pub async fn map_port(&self, options: PortMapOptions) -> Result<MappedPort, PortMapError> {
        let (id, outcome) = self.call(|machine, now| {
            let id = machine.stack.map_port(options, now);
            let (sender, outcome) = watch::channel(None);
            machine.maps.insert(id, sender);
            (id, outcome)
        });
        let mut port = MappedPort { handle: self.clone(), id, outcome };
        port.changed().await?;
        Ok(port)
    }
}

impl MappedPort {
    /// The external address. It changes when the session is lost: see [`changed`](Self::changed).
    ///
    /// # Errors
    /// The last renewal failed.
    pub fn external(&self) -> Result<SocketAddr, PortMapError> {
        outcome(*self.outcome.borrow()).map(|mapping| mapping.external)
    }

    /// Waits until the gateway has answered anew, with another address or with a refusal.
    ///
    /// # Errors
    /// The gateway no longer gives a port, or the tunnel is closed for good.
    pub async fn changed(&mut self) -> Result<PortMapping, PortMapError> {
        self.outcome.changed().await.map_err(|_| PortMapError::TunnelClosed)?;
        outcome(*self.outcome.borrow_and_update())
    }
}

/// Before the first answer there is no `MappedPort`, and after the loop's end none stays: `None` means that it is over.
fn outcome(outcome: MapOutcome) -> Result<PortMapping, PortMapError> {
    outcome.unwrap_or(Err(PortMapError::TunnelClosed))
}

impl Drop for MappedPort {
    fn drop(&mut self) {
        self.handle.call(|machine, now| {
            machine.maps.remove(&self.id);
            machine.stack.unmap_port(self.id, now);
        });
    }
}
