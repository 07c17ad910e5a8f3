//! The directory through which a VM's container speaks to its host: the container writes it, and the
//! host reads it as a stranger's.

use std::path::{Path, PathBuf};

/// Path of the predecessor of the log at `path`; there is one when the guest has said much.
#[must_use]
pub fn earlier(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// Paths of the files in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedPaths {
    dir: PathBuf,
}

impl SharedPaths {
    /// The files of the directory `dir`, such as [`CONTAINER_VM_DIR`](crate::spec::CONTAINER_VM_DIR)
    /// inside the container.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The socket behind which the guest's sshd is.
    #[must_use]
    pub fn ssh_socket(&self) -> PathBuf {
        self.dir.join("ssh.sock")
    }

    /// The socket at which the supervisor takes requests for checkpoints.
    #[must_use]
    pub fn checkpoint_socket(&self) -> PathBuf {
        self.dir.join("checkpoint.sock")
    }

    /// The guest's console, as far as it was kept.
    #[must_use]
    pub fn console_log(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// The guest's journal as text, where it takes the console's place.
    #[must_use]
    pub fn journal_log(&self) -> PathBuf {
        self.dir.join("journal.log")
    }

    /// FIFOs that carry standard output and standard error of `--execute` to the command line. There
    /// are none if the container's own streams do.
    #[must_use]
    pub fn command_streams(&self) -> [PathBuf; 2] {
        ["stdout", "stderr"].map(|name| self.dir.join(name))
    }

    /// The file that the supervisor holds locked for as long as it lives.
    #[must_use]
    pub fn supervisor_lock(&self) -> PathBuf {
        self.dir.join("supervisor.lock")
    }

    /// The file that the one process has locked which may write here.
    #[must_use]
    pub fn writer_lock(&self) -> PathBuf {
        self.dir.join("writer.lock")
    }
}
