//! Reading of the files that a VM's container has written.
//!
//! The container may have been taken over by its guest. So nothing here follows a link, opens
//! anything but regular files of this user's (and the FIFOs and the socket that the host expects),
//! waits for another process, or reads without a bound. No other module of the host has a path of
//! that directory: see `clippy.toml`.

#![allow(
    clippy::disallowed_methods,
    reason = "this is the module that reads a container's files"
)]

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use bcvk_contract::checkpoint::{self, Answer, Refusal, Request};
use bcvk_contract::lock::Lock;
use bcvk_contract::shared::SharedPaths;
use bcvk_contract::status::{Status, StatusReader, Timestamp, printable};
use bcvk_contract::untrusted;
use rustix::fs::inotify;

/// Time for a supervisor to answer a request. Its own limit for one is half of that.
const ANSWERED: Duration = Duration::from_secs(600);

/// The host's view of the directory that a VM's container writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedDir {
    paths: SharedPaths,
}

impl SharedDir {
    /// Returns the directory at `path`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            paths: SharedPaths::at(path),
        }
    }

    /// Reads the supervisor's last status; `None` before the first one.
    ///
    /// # Errors
    /// If the status file is no regular file, or has other content.
    pub fn status(&self) -> io::Result<Option<Status>> {
        self.status_reader().read()
    }

    /// Returns true if a history that begins with `first` is that of the container's first start.
    #[must_use]
    pub fn is_first_start(&self, first: Timestamp) -> bool {
        self.status_reader().is_first_start(first)
    }

    /// Opens the guest's log, as far as it was kept.
    ///
    /// # Errors
    /// The same as for [`untrusted::open`].
    pub(crate) fn open_log(&self, log: LogFile) -> io::Result<File> {
        untrusted::open(&self.path_of(log))
    }

    /// Opens the part of the log from before it was begun anew.
    ///
    /// # Errors
    /// The same as for [`untrusted::open`].
    pub(crate) fn open_earlier_log(&self, log: LogFile) -> io::Result<File> {
        untrusted::open(&bcvk_contract::shared::earlier(&self.path_of(log)))
    }

    /// Connects to the guest's sshd.
    ///
    /// # Errors
    /// The same as for [`untrusted::connect_to`].
    pub fn connect_to_sshd(&self) -> io::Result<UnixStream> {
        untrusted::connect_to(&self.paths.ssh_socket())
    }

    /// Asks the supervisor for a checkpoint or a reset, and waits for its answer; `None` if the VM ends
    /// before. What it says is safe to show.
    ///
    /// # Errors
    /// The same as for [`untrusted::connect_to`], or if the answer makes no sense.
    pub fn ask(&self, request: &Request) -> io::Result<Option<Answer>> {
        let stream = untrusted::connect_to(&self.paths.checkpoint_socket())?;
        stream.set_read_timeout(Some(ANSWERED))?;
        checkpoint::send(&stream, request)?;
        let answer: Option<Answer> = checkpoint::receive(&stream)?;
        Ok(answer.map(|answer| match answer {
            Answer::Refused(Refusal::Failed(why)) => {
                Answer::Refused(Refusal::Failed(printable(&why)))
            }
            Answer::Refused(Refusal::UsersDisk(name)) => {
                Answer::Refused(Refusal::UsersDisk(printable(&name)))
            }
            answer => answer,
        }))
    }

    /// Opens standard output and standard error of the commands to execute.
    pub(crate) fn open_command_streams(&self) -> [io::Result<File>; 2] {
        self.paths
            .command_streams()
            .map(|path| untrusted::open_fifo(&path))
    }

    /// Returns true if the VM's supervisor lives.
    #[must_use]
    pub fn supervisor_lives(&self) -> bool {
        let file = untrusted::open(&self.paths.supervisor_lock());
        file.and_then(Lock::is_exclusive).unwrap_or(false)
    }

    /// Blocks until no supervisor holds its lock.
    ///
    /// # Errors
    /// If there is no supervisor that could be waited for.
    pub(crate) fn wait_for_supervisor_to_end(&self) -> io::Result<()> {
        Lock::shared(untrusted::open(&self.paths.supervisor_lock())?).map(drop)
    }

    /// Starts to watch for files that are renamed into place, as each new status is.
    ///
    /// # Errors
    /// The errors of inotify(7).
    pub(crate) fn watch(&self) -> io::Result<std::os::fd::OwnedFd> {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&inotify, self.paths.dir(), inotify::WatchFlags::MOVED_TO)?;
        Ok(inotify)
    }

    /// Returns the paths of the files, for the code that makes the directory.
    pub(crate) fn paths(&self) -> &SharedPaths {
        &self.paths
    }

    fn status_reader(&self) -> StatusReader {
        StatusReader::new(self.paths.dir())
    }

    fn path_of(&self, log: LogFile) -> PathBuf {
        match log {
            LogFile::Console => self.paths.console_log(),
            LogFile::Journal => self.paths.journal_log(),
        }
    }
}

/// A log that the container keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFile {
    /// The guest's console.
    Console,
    /// The guest's journal.
    Journal,
}
