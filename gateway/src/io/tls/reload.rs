use super::load;
use crate::config::Tls;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;

/// How often the files are looked at. A change counts once a second look finds nothing new, since certificate and key are
/// mostly written one after the other.
const INTERVAL: Duration = Duration::from_secs(1);

/// What tells one state of a file from the next. Links are followed: Kubernetes and certbot change where they lead.
type Mark = Option<(u64, u64, i64, i64, u64)>;

fn mark(path: &Path) -> Mark {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.size()))
}

fn marks(tls: &Tls) -> Option<(Mark, Mark)> {
    tls.files().map(|(certificate, key)| (mark(certificate), mark(key)))
}

/// Loads the files again whenever they change, and at SIGHUP, until nobody uses them any more. Connections that are there
/// keep what they have begun with. Files that cannot be used change nothing.
///
/// Looking is done by time, which works on every file system and through every chain of links.
pub async fn keep_fresh(tls: Tls, current: watch::Sender<Arc<ServerConfig>>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return tracing::error!("SIGHUP cannot be caught; changed certificates need a restart");
    };
    let mut loaded = marks(&tls);
    let mut seen = loaded;
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(INTERVAL) => false,
            () = current.closed() => return,
        };
        let files = tls.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || marks(&files)).await else { return };
        let settled = found == std::mem::replace(&mut seen, found);
        if asked || (settled && found != loaded) {
            loaded = found;
            replace(&tls, &current).await;
        }
    }
}

async fn replace(tls: &Tls, current: &watch::Sender<Arc<ServerConfig>>) {
    let files = tls.clone();
    match tokio::task::spawn_blocking(move || load(&files)).await {
        Ok(Ok(Some(config))) => {
            current.send_replace(config);
            tracing::info!("the certificate has been read again");
        }
        Ok(Err(error)) => tracing::error!(%error, "the certificate that was read before stays in use"),
        Ok(Ok(None)) | Err(_) => {}
    }
}
