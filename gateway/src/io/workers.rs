//! Where the drivers run: one alone in the runtime of everything else, several each in a thread of its own.
//!
//! A shard's device is watched, and its packets are dealt with, by that one thread; connections stay in the common runtime,
//! with TLS, and hand whole messages over.

use std::io;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The runtimes of the drivers. Their threads end with this value.
#[derive(Debug)]
pub(super) struct Workers {
    handles: Vec<Handle>,
    _ends: Vec<oneshot::Sender<()>>,
}

impl Workers {
    /// Runtimes for so many drivers. To be called within the common runtime.
    ///
    /// # Errors
    /// Where a thread or its runtime cannot be made.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let (mut handles, mut ends) = (Vec::new(), Vec::new());
        if count == 1 {
            handles.push(Handle::current());
        } else {
            for shard in 0..count {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                let (end, ended) = oneshot::channel();
                handles.push(runtime.handle().clone());
                ends.push(end);
                std::thread::Builder::new().name(format!("shard-{shard}")).spawn(move || {
                    // It ends when the sender is dropped.
                    let _ = runtime.block_on(ended);
                })?;
            }
        }
        Ok(Self { handles, _ends: ends })
    }

    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }
}
