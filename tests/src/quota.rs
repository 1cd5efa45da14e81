//! A share of the processor that a program cannot exceed, by a control group of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Microseconds in which the share is measured.
const PERIOD: u32 = 100_000;

/// A control group with a bound; removed when dropped.
#[derive(Debug)]
pub struct CpuQuota {
    folder: PathBuf,
}

impl CpuQuota {
    /// At most `percent` of one processor, for all programs in the group together. None where this machine has no such
    /// groups or does not let us make them.
    pub fn new(percent: u32) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("webtun-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let quota = PERIOD / 100 * percent;
        let second = (Path::new("/sys/fs/cgroup"), [("cpu.max", format!("{quota} {PERIOD}"))]);
        let first = (Path::new("/sys/fs/cgroup/cpu"), [("cpu.cfs_quota_us", quota.to_string())]);
        [second, first].into_iter().find_map(|(root, settings)| Self::make(root.join(&name), &settings))
    }

    fn make(folder: PathBuf, settings: &[(&str, String)]) -> Option<Self> {
        fs::create_dir(&folder).ok()?;
        let group = Self { folder };
        // In a folder that is no control group the file does not exist, and must not come to be.
        let set = |(file, value): &(&str, String)| {
            let path = group.folder.join(file);
            path.exists() && fs::write(path, value).is_ok()
        };
        settings.iter().all(set).then_some(group)
    }

    /// The same program, begun within the group.
    pub fn limit(&self, command: &Command) -> Command {
        let mut limited = Command::new("sh");
        limited.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(self.folder.join("cgroup.procs"));
        limited.arg(command.get_program()).args(command.get_args());
        limited
    }
}

impl Drop for CpuQuota {
    fn drop(&mut self) {
        // Its processes have just ended, which the kernel takes a moment to note.
        for _ in 0..20 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
