//! The audit log: who had which addresses and ports when (RFC 6888 REQ-12), and never where anyone went. A line of JSON per
//! session opened and closed, port block assigned and returned, port mapped and unmapped, and stream connected and closed.
//!
//! Lines go by a bounded channel to a thread of their own, because a disk may be slow; past 8,192 lines they are counted
//! and lost. A file is turned over when it has grown to its size, and the oldest is deleted.

use crate::config::Audit as Settings;
use crate::dataplane::Event;
use file_rotate::compression::Compression;
use file_rotate::suffix::AppendCount;
use file_rotate::{ContentLimit, FileRotate};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const WAITING_LINES: usize = 8192;
/// How long the last lines may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The way to the log; clones are ways to the same one.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    lines: Option<SyncSender<String>>,
    /// Ends when the writer has.
    writer: Option<Arc<Mutex<Receiver<()>>>>,
    lost: u64,
}

impl Drop for Audit {
    /// The last one waits for the last lines, but not for a disk that is stuck.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take().and_then(Arc::into_inner) {
            let writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
            // The writer sends nothing: this ends by its end, or by the time.
            let _ = writer.recv_timeout(LAST_LINES);
        }
    }
}

impl Audit {
    /// Opens the log that is configured.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn open(settings: &Settings) -> io::Result<Self> {
        let Some(output) = settings.output.value() else { return Ok(Self::default()) };
        let writer: Box<dyn Write + Send> = if output == "stdout" {
            Box::new(io::stdout())
        } else {
            // The rotating writer would only fail at the first line.
            OpenOptions::new().append(true).create(true).open(output)?;
            let files = AppendCount::new(usize::try_from(settings.files).unwrap_or(usize::MAX));
            let size = usize::try_from(settings.file_octets).unwrap_or(usize::MAX);
            Box::new(FileRotate::new(output, files, ContentLimit::BytesSurpassed(size), Compression::None, None))
        };
        let (lines, receiver) = sync_channel(WAITING_LINES);
        let (alive, ended) = sync_channel(0);
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            write(writer, &receiver);
            drop::<SyncSender<()>>(alive);
        })?;
        Ok(Self { lines: Some(lines), writer: Some(Arc::new(Mutex::new(ended))), lost: 0 })
    }

    /// Writes what `event` has to say, if anything.
    pub fn record(&mut self, event: &Event) {
        let Some(lines) = &self.lines else { return };
        let Some(mut line) = describe(event) else { return };
        line["unix_ms"] = now_ms().into();
        if lines.try_send(format!("{line}\n")).is_err() {
            self.lost += 1;
        }
    }

    /// Lines of this clone that there was no room for.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

fn write(mut writer: Box<dyn Write + Send>, lines: &Receiver<String>) {
    let mut is_failing = false;
    while let Ok(line) = lines.recv() {
        let written = writer.write_all(line.as_bytes()).and_then(|()| writer.flush());
        // Said once per trouble: a full disk would fill the other log as well.
        if let Err(error) = &written
            && !is_failing
        {
            tracing::error!(%error, "the audit log cannot be written");
        }
        is_failing = written.is_err();
    }
}

fn now_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "people look for the time of day")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn describe(event: &Event) -> Option<Value> {
    let ports = |what,
                 id: &crate::dataplane::SessionId,
                 peer: &str,
                 inner: &std::net::IpAddr,
                 block: &webtun_wire::PortBlock| {
        json!({
            "event": what, "session": id.to_string(), "peer": peer, "inner": inner.to_string(), "address": block.address.to_string(),
            "first_port": block.first, "ports": block.count,
        })
    };
    let mapping =
        |what, id: &crate::dataplane::SessionId, protocol: u8, internal: u16, external: std::net::SocketAddr| {
            json!({
                "event": what, "session": id.to_string(), "protocol": protocol, "internal_port": internal,
                "address": external.ip().to_string(), "port": external.port(),
            })
        };
    Some(match event {
        Event::SessionOpened { id, peer, inner_v4, inner_v6 } => json!({
            "event": "session_opened", "session": id.to_string(), "peer": &**peer,
            "inner_v4": inner_v4.to_string(), "inner_v6": inner_v6.to_string(),
        }),
        Event::SessionClosed { id, code } => {
            json!({ "event": "session_closed", "session": id.to_string(), "reason": format!("{code:?}") })
        }
        Event::BlockAssigned { id, peer, inner, block } => ports("block_assigned", id, peer, inner, block),
        Event::BlockReturned { id, peer, inner, block } => ports("block_returned", id, peer, inner, block),
        Event::PortMapped { id, protocol, internal_port, external } => {
            mapping("port_mapped", id, *protocol, *internal_port, *external)
        }
        Event::PortUnmapped { id, protocol, internal_port, external } => {
            mapping("port_unmapped", id, *protocol, *internal_port, *external)
        }
        Event::StreamConnected { id, peer, local } => json!({
            "event": "stream_connected", "session": id.to_string(), "peer": &**peer,
            "address": local.ip().to_string(), "port": local.port(),
        }),
        Event::StreamClosed { id, local } => json!({
            "event": "stream_closed", "session": id.to_string(), "address": local.ip().to_string(), "port": local.port(),
        }),
        _ => return None,
    })
}
