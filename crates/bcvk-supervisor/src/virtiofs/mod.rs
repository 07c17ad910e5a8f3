//! One virtiofs share, served by the embedded `virtiofsd` crate in a process of its own.
//!
//! The supervisor runs this binary again for each share, so that a file server has only the rights
//! and the directory of its share, and its death is seen and named.

#[cfg(test)]
mod escape;
mod image;
mod record;
pub(super) mod store;
mod tree;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bcvk_contract::procfs;
use image::ImageFs;
use record::Record;
pub use record::TraceOptions;
use rustix::fs::OFlags;
use rustix::process::{Resource, Rlimit, chdir, chroot, getrlimit, setrlimit};
use rustix::stdio::dup2_stdout;
use rustix::thread::CapabilitySet;
use store::StoreFs;
use vhost::vhost_user::Listener;
use vhost_user_backend::VhostUserDaemon;
use virtiofsd::filesystem::{FileSystem, SerializableFileSystem};
use virtiofsd::passthrough::read_only::PassthroughFsRo;
use virtiofsd::passthrough::{CachePolicy, Config, MigrationMode, PassthroughFs};
use virtiofsd::vhost_user::VhostUserFsBackendBuilder;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

use crate::landlock::{self, May, Network, Rule};
use crate::rights::{keep_only, leave_groups};
use crate::syscalls;

/// Number of descriptors that are kept back for the server itself (sockets, `/proc`, event
/// descriptors).
const RESERVED_FDS: u64 = 100;

/// One share as its server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeOptions {
    /// The directory to serve.
    pub dir: PathBuf,
    /// True to refuse every change, in the server and not only in the guest's mount.
    pub read_only: bool,
    /// True if nobody else changes the directory: the guest may then keep what it has seen.
    pub immutable: bool,
    /// True if the directory is podman's storage, of which only images are served, read-only.
    pub images: bool,
    /// Set if all that the guest looks at is recorded. The directory has to be immutable.
    pub trace: Option<TraceOptions>,
}

/// Reason why a share cannot be served.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what the variant is")]
pub enum ServeError {
    #[error("cannot raise the number of open files")]
    Limit(#[source] io::Error),
    #[error("standard input is not the listening socket")]
    Listener(#[source] io::Error),
    #[error("cannot confine the file server to {}", dir.display())]
    Confine {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot serve {}", dir.display())]
    Open {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot record what the guest looks at")]
    Trace(#[source] io::Error),
    #[error("vhost-user: {0}")]
    Vhost(String),
}

impl ServeOptions {
    /// Returns the arguments that make this binary serve the share: `internal virtiofs …`.
    #[must_use]
    pub fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = ["internal", "virtiofs"].map(Into::into).to_vec();
        if self.read_only {
            args.push("--read-only".into());
        }
        if self.immutable {
            args.push("--immutable".into());
        }
        if self.images {
            args.push("--images".into());
        }
        if let Some(trace) = &self.trace {
            args.push("--trace".into());
            args.push(trace.file.clone().into());
            if let Some(early) = &trace.early {
                args.extend(["--early".into(), early.clone().into()]);
            }
            args.push(format!("--given={}", trace.given).into());
            for file in &trace.files {
                args.extend(["--file".into(), file.clone().into()]);
            }
        }
        args.push("--".into());
        args.push(self.dir.clone().into());
        args
    }

    fn config(&self, guest_fd_limit: u64) -> Config {
        // These are virtiofsd's own values for `--cache always` and `--cache auto`.
        let (cache_policy, timeout) = if self.immutable {
            (CachePolicy::Always, Duration::from_secs(86_400))
        } else {
            (CachePolicy::Auto, Duration::from_secs(1))
        };
        Config {
            cache_policy,
            entry_timeout: timeout,
            attr_timeout: timeout,
            announce_submounts: true,
            // File capabilities (`security.capability`) of the image's programs must work in the
            // guest. Where files are written, extended attributes cost a request per write.
            xattr: self.read_only,
            migration_mode: MigrationMode::FindPaths,
            guest_fd_limit,
            ..Config::default()
        }
    }
}

/// Serves one share on the listening socket that is standard input, until QEMU disconnects.
pub fn serve(options: &ServeOptions) -> Result<(), ServeError> {
    let fds = raise_open_files().map_err(ServeError::Limit)?;
    let listener = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(ServeError::Listener)?;
    let confine = |source| ServeError::Confine {
        dir: options.dir.clone(),
        source,
    };
    let record = options.trace.as_ref().map(Record::begin).transpose();
    let record = record.map_err(ServeError::Trace)?;
    let view = confine_to(&options.dir, options.read_only).map_err(confine)?;
    let mut listener = Listener::from(UnixListener::from(listener));
    let config = Config {
        root_dir: "/".to_owned(),
        mountinfo_prefix: Some(path_text(&options.dir)?),
        proc_sfd_rawfd: Some(view.descriptors.into()),
        proc_mountinfo_rawfd: Some(view.mounts.into()),
        ..options.config(fds.saturating_sub(RESERVED_FDS))
    };
    let open = |source| ServeError::Open {
        dir: options.dir.clone(),
        source,
    };
    if options.images {
        serve_fs(StoreFs::new(config).map_err(open)?, &mut listener)
    } else if options.immutable {
        serve_fs(ImageFs::new(config, record).map_err(open)?, &mut listener)
    } else if options.read_only {
        serve_fs(PassthroughFsRo::new(config).map_err(open)?, &mut listener)
    } else {
        serve_fs(PassthroughFs::new(config).map_err(open)?, &mut listener)
    }
}

/// Raises the limit for open files to the container's own; returns the new limit.
fn raise_open_files() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

fn serve_fs<F>(fs: F, listener: &mut Listener) -> Result<(), ServeError>
where
    F: FileSystem + SerializableFileSystem + Send + Sync + 'static,
{
    let vhost = |e: &dyn std::fmt::Display| ServeError::Vhost(e.to_string());
    let backend = VhostUserFsBackendBuilder::default()
        .build(fs)
        .map_err(|e| vhost(&e))?;
    let mut daemon = VhostUserDaemon::new(
        "virtiofs".to_owned(),
        Arc::new(backend),
        GuestMemoryAtomic::new(GuestMemoryMmap::new()),
    )
    .map_err(|e| ServeError::Vhost(format!("{e:?}")))?;
    daemon.start(listener).map_err(|e| vhost(&e))?;
    match daemon.wait() {
        Ok(())
        | Err(vhost_user_backend::Error::HandleRequest(vhost::vhost_user::Error::Disconnected)) => {
            Ok(())
        }
        Err(e) => Err(vhost(&e)),
    }
}

/// Parts of procfs that a file server keeps open: virtiofsd opens files anew by the names of their
/// descriptors, and looks for file systems that are mounted in the share.
struct View {
    descriptors: OwnedFd,
    mounts: OwnedFd,
}

/// Confines this process to the share at `dir`, which becomes its root. If this process's root has no
/// procfs, standard output is a descriptor of procfs.
///
/// With the descriptors that the process keeps, code that has taken it over could walk out of its
/// root. Landlock lets that code open nothing there.
fn confine_to(dir: &Path, read_only: bool) -> io::Result<View> {
    let proc = procfs::here_or(io::stdout())?;
    let view = View {
        descriptors: procfs::open_own_in(&proc, "fd", OFlags::PATH)?,
        mounts: procfs::open_own_in(&proc, "mountinfo", OFlags::RDONLY)?,
    };
    drop(proc);
    dup2_stdout(io::stderr())?;
    leave_groups()?;
    chroot(dir)?;
    chdir("/")?;
    drop_capabilities(read_only)?;
    let may = if read_only { May::Read } else { May::Change };
    let share = Rule {
        path: Path::new("/"),
        may,
    };
    landlock::restrict(&[share], Network::None)?;
    syscalls::restrict(read_only)?;
    Ok(view)
}

/// Keeps only the capabilities for acting for the guest's users. A reader only has to see every file.
fn drop_capabilities(read_only: bool) -> io::Result<()> {
    let wanted = if read_only {
        CapabilitySet::DAC_OVERRIDE
    } else {
        // These are the capabilities that virtiofsd itself keeps (its main.rs), without MKNOD: a device
        // in a share would be the host's to anybody there who may open it. FIFOs and sockets need no
        // capability.
        CapabilitySet::CHOWN
            | CapabilitySet::DAC_OVERRIDE
            | CapabilitySet::FOWNER
            | CapabilitySet::FSETID
            | CapabilitySet::SETFCAP
            | CapabilitySet::SETGID
            | CapabilitySet::SETUID
    };
    keep_only(wanted)
}

/// Returns the directory as text, which the crate takes; podman's mount points of shares are ASCII.
fn path_text(dir: &Path) -> Result<String, ServeError> {
    dir.to_str()
        .map(str::to_owned)
        .ok_or_else(|| ServeError::Open {
            dir: dir.to_owned(),
            source: io::ErrorKind::InvalidFilename.into(),
        })
}
