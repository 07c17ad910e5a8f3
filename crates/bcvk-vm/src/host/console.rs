//! The guest's console as the host shows it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::vmdir::VmDir;
use crate::status::printable;

/// Bytes at the end of the log that are enough for the last lines.
const TAIL_BYTES: u64 = 16 * 1024;

/// The last `lines` lines of the guest's console, safe to print; empty if there is none.
#[must_use]
pub(super) fn tail(dir: &VmDir, lines: usize) -> Vec<String> {
    let mut text = Vec::new();
    let read = File::open(dir.console_log()).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        file.take(TAIL_BYTES).read_to_end(&mut text)
    });
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&text);
    let all: Vec<String> = text
        .lines()
        .map(printable)
        .filter(|l| !l.trim().is_empty())
        .collect();
    all[all.len().saturating_sub(lines)..].to_vec()
}

/// Shows the console as it grows, until dropped.
#[derive(Debug)]
pub struct ConsoleFollower {
    stop: Arc<AtomicBool>,
}

/// How often the log is looked at. A person watches it.
const LOOK: Duration = Duration::from_millis(50);

impl ConsoleFollower {
    /// Copies the console of the VM in `dir` to `out`, from its first byte on.
    pub fn start(dir: &VmDir, mut out: impl Write + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let path = dir.console_log();
        thread::spawn(move || {
            let mut log = None;
            while !stopped.load(Ordering::Relaxed) {
                if log.is_none() {
                    log = File::open(&path).ok();
                }
                if let Some(log) = &mut log
                    && io::copy(log, &mut out).is_err()
                {
                    return;
                }
                thread::sleep(LOOK);
            }
        });
        Self { stop }
    }
}

impl Drop for ConsoleFollower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
