//! The guest's console and journal as the host shows them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bcvk_contract::missing::if_exists;
use bcvk_contract::status::printable;

use crate::vm::dir::VmDir;
use crate::vm::shared_dir::{LogFile, SharedDir};

/// Number of bytes at the end of the log that are enough for the last lines.
const TAIL_BYTES: u64 = 16 * 1024;

/// Most bytes of a file that are read: twice the size at which the supervisor begins a new file. A
/// container that has been taken over can make a file of any length.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Returns the last `lines` lines of the guest's console, safe to print; empty if there is none.
#[must_use]
pub(crate) fn tail(dir: &VmDir, lines: usize) -> Vec<String> {
    let mut text = Vec::new();
    let read = dir
        .shared()
        .open_log(LogFile::Console)
        .and_then(|mut file| {
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

/// Reads a log from the oldest byte that was kept to the newest one at the time of the read. A later
/// read may find more, also in a file that the supervisor has begun since.
#[derive(Debug)]
pub struct GuestLog {
    dir: SharedDir,
    log: LogFile,
    /// Files of the log, oldest first; the last one may grow.
    files: VecDeque<Take<File>>,
}

impl GuestLog {
    /// Interval between two looks at a log that is followed. A person watches it.
    pub const LOOK: Duration = Duration::from_millis(50);

    /// Opens the console of the VM in `dir`, which need not have printed anything yet.
    #[must_use]
    pub fn console(dir: &VmDir) -> Self {
        Self::of(dir, LogFile::Console)
    }

    /// Opens the journal of the VM in `dir` as text, if the VM keeps one on the host.
    #[must_use]
    pub fn journal(dir: &VmDir) -> Self {
        Self::of(dir, LogFile::Journal)
    }

    fn of(dir: &VmDir, log: LogFile) -> Self {
        Self {
            dir: dir.shared(),
            log,
            files: VecDeque::new(),
        }
    }

    /// Returns the number of bytes that are kept now. A reader that does not follow the log stops
    /// there, because a guest may write as fast as one reads.
    pub fn length(&mut self) -> io::Result<u64> {
        if self.files.is_empty() {
            self.find_newer()?;
        }
        self.files
            .iter()
            .map(|file| Ok(file.get_ref().metadata()?.len().min(MAX_FILE_BYTES)))
            .sum()
    }

    /// Looks for a file after the last one known; returns true if there is one.
    fn find_newer(&mut self) -> io::Result<bool> {
        let last = self.files.back().map(|file| identity(file.get_ref()));
        let last = last.transpose()?;
        let Some(newest) = if_exists(self.dir.open_log(self.log))? else {
            return Ok(false);
        };
        let id = identity(&newest)?;
        if last == Some(id) {
            return Ok(false);
        }
        if let Some(earlier) = if_exists(self.dir.open_earlier_log(self.log))? {
            let earlier_id = identity(&earlier)?;
            // The earlier log is the newest known file itself if the supervisor has just renamed
            // that.
            if last != Some(earlier_id) && earlier_id != id {
                self.files.push_back(earlier.take(MAX_FILE_BYTES));
            }
        }
        self.files.push_back(newest.take(MAX_FILE_BYTES));
        Ok(true)
    }
}

impl Read for GuestLog {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = self.files.front_mut() {
                let n = file.read(buffer)?;
                if n > 0 {
                    return Ok(n);
                }
            }
            if self.files.len() > 1 {
                // This file's successor was there before this read, so nothing is added to this file
                // any more.
                self.files.pop_front();
            } else if !self.find_newer()? {
                return Ok(0);
            }
        }
    }
}

fn identity(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.ino())
}

/// Shows a log as it grows, until dropped; output that has come by then is shown.
#[derive(Debug)]
pub struct LogFollower {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LogFollower {
    /// Copies `log` to `out`, from its first byte on.
    pub fn start(mut log: GuestLog, mut out: impl Write + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            loop {
                // The flag is read before the log is, so that output which came until then is shown.
                let last = stopped.load(Ordering::Relaxed);
                if io::copy(&mut log, &mut out).is_err() || last {
                    return;
                }
                thread::sleep(GuestLog::LOOK);
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for LogFollower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been reported there.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test makes the files")]
mod tests {
    use std::fs;

    use super::*;

    fn read(log: &mut GuestLog) -> String {
        let mut text = String::new();
        log.read_to_string(&mut text).expect("read");
        text
    }

    #[test]
    fn a_file_without_end_is_read_up_to_a_bound() {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let dir = VmDir::at(tmp.path());
        let paths = dir.shared().paths().clone();
        fs::create_dir(paths.dir()).expect("made");
        let endless = File::create(paths.console_log()).expect("made");
        endless.set_len(1 << 40).expect("longer");
        let mut log = GuestLog::console(&dir);
        assert_eq!(log.length().expect("length"), MAX_FILE_BYTES);
        let read = io::copy(&mut log, &mut io::sink()).expect("read");
        assert_eq!(read, MAX_FILE_BYTES);
    }

    #[test]
    fn nothing_is_lost_or_read_twice_when_the_log_is_begun_anew() {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let dir = VmDir::at(tmp.path());
        fs::create_dir(dir.shared().paths().dir()).expect("made");
        let now = dir.shared().paths().console_log();
        let earlier = bcvk_contract::shared::earlier(&now);
        let add = |text: &str| {
            let mut file = File::options()
                .append(true)
                .create(true)
                .open(&now)
                .expect("open");
            file.write_all(text.as_bytes()).expect("write");
        };
        let mut log = GuestLog::console(&dir);
        assert_eq!(read(&mut log), "");
        add("one ");
        assert_eq!(read(&mut log), "one ");
        add("two ");
        fs::rename(&now, &earlier).expect("rename");
        assert_eq!(read(&mut log), "two ");
        add("three ");
        assert_eq!(read(&mut log), "three ");
        // The log is begun anew twice between two looks.
        for text in ["four ", "five "] {
            fs::rename(&now, &earlier).expect("rename");
            add(text);
        }
        assert_eq!(read(&mut log), "four five ");

        let mut again = GuestLog::console(&dir);
        assert_eq!(again.length().expect("length"), 10);
        assert_eq!(read(&mut again), "four five ");
    }
}
