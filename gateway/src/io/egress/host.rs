//! What is changed on this machine, noted before it is changed, and put back.

use super::sysctl::{self, Change};
use super::{Plan, SetupError, nft};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The note that survives a crash.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    changes: Vec<Change>,
}

/// The changes of one gateway in one network namespace. Dropping it puts everything back.
///
/// The nftables table is the first thing made and the last removed: notes without a table were made in a namespace that
/// is gone (inode numbers are used again), and are thrown away. The TUN device vanishes with its descriptor.
#[derive(Debug)]
pub struct HostChanges {
    notes_path: PathBuf,
    notes: Notes,
    lock_path: PathBuf,
    /// Held for as long as the gateway runs; the kernel releases it whatever way the process ends.
    _lock: File,
}

impl HostChanges {
    /// Takes the lock of this network namespace and removes what a crashed gateway has left.
    ///
    /// # Errors
    /// Where another gateway runs here, or the folder or `nft` cannot be used.
    pub(super) fn begin(runtime_dir: &Path) -> Result<Self, SetupError> {
        let unusable = |error| SetupError::RuntimeDir { path: runtime_dir.to_owned(), error };
        fs::create_dir_all(runtime_dir).map_err(unusable)?;
        let namespace = namespace_id();
        let lock_path = runtime_dir.join(format!("netns-{namespace}.lock"));
        let lock = match lock(&lock_path) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => return Err(SetupError::AlreadyRunning),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        };
        let notes_path = runtime_dir.join(format!("netns-{namespace}.json"));
        let mut this = Self { notes_path, notes: Notes::default(), lock_path, _lock: lock };
        this.recover()?;
        Ok(this)
    }

    fn recover(&mut self) -> Result<(), SetupError> {
        let left = nft::exists()?;
        if let Ok(text) = fs::read_to_string(&self.notes_path) {
            match serde_json::from_str::<Notes>(&text) {
                Ok(notes) if left => {
                    tracing::warn!("an earlier gateway has ended without cleaning up; doing so now");
                    self.notes = notes;
                }
                Ok(_) => tracing::debug!("notes of a network namespace that is gone"),
                Err(error) => tracing::warn!(%error, "the notes of an earlier gateway cannot be read"),
            }
        }
        self.undo();
        Ok(())
    }

    /// Installs the table and sets the kernel parameters.
    ///
    /// # Errors
    /// Whatever cannot be done; what was done is undone by the drop.
    pub(super) fn apply(&mut self, plan: &Plan) -> Result<(), SetupError> {
        self.save()?;
        nft::install(plan)?;
        for wanted in sysctl::wanted(plan) {
            let Some(change) = wanted.change() else { continue };
            self.notes.changes.push(change);
            self.save()?;
            wanted.apply()?;
            if let Some(change) = self.notes.changes.last_mut() {
                change.after = sysctl::read(&wanted.path);
            }
            self.save()?;
        }
        Ok(())
    }

    fn save(&self) -> Result<(), SetupError> {
        let unusable = |error| SetupError::RuntimeDir { path: self.notes_path.clone(), error };
        let text = serde_json::to_string(&self.notes).map_err(|error| unusable(io::Error::other(error)))?;
        // By renaming, so that a crash in between leaves the older notes and not half of the newer.
        let draft = self.notes_path.with_extension("new");
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, &self.notes_path)).map_err(unusable)
    }

    /// Puts everything back, in reverse order, and goes on after an error: the rest is better than nothing.
    fn undo(&mut self) {
        for change in self.notes.changes.drain(..).rev() {
            if let Err(error) = change.restore() {
                tracing::error!(parameter = change.path, before = change.before, %error, "cannot be put back");
            }
        }
        if let Err(error) = nft::remove() {
            tracing::error!(%error, "the nftables table cannot be removed");
        }
        if let Err(error) = fs::remove_file(&self.notes_path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, path = %self.notes_path.display(), "cannot be removed");
        }
    }
}

impl Drop for HostChanges {
    fn drop(&mut self) {
        self.undo();
        // While it is still locked; whoever waits for this file notices that it is gone.
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// Makes and locks the file `path`. A gateway that ends removes its file, so a lock only counts while its file is the one
/// that others find.
fn lock(path: &Path) -> Result<File, TryLockError> {
    loop {
        let file = File::create(path).map_err(TryLockError::Error)?;
        file.try_lock()?;
        let ours = file.metadata().map_err(TryLockError::Error)?;
        match fs::metadata(path) {
            Ok(found) if (found.dev(), found.ino()) == (ours.dev(), ours.ino()) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(TryLockError::Error(error)),
        }
    }
}

/// The inode number of the network namespace, which names it among those that share the runtime folder.
fn namespace_id() -> String {
    let link = fs::read_link("/proc/self/ns/net").unwrap_or_default();
    link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}
