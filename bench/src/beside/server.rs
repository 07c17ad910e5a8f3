//! The bare file server that bcvk's is compared with.

use std::env;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::process::{Running, run};

use super::common::SHORT;
use super::image::Tree;

/// Places where distributions put virtiofsd, as no user runs it by hand.
const OUTSIDE_PATH: [&str; 3] = [
    "/usr/libexec/virtiofsd",
    "/usr/lib/virtiofsd",
    "/usr/lib/qemu/virtiofsd",
];

/// File server that is measured.
pub(super) enum Server {
    /// The virtiofsd project's server.
    Virtiofsd {
        /// Path of the program.
        path: PathBuf,
        /// Answer to `--version`.
        version: String,
    },
    /// The server that is part of bcvk, without anything around it.
    Embedded {
        /// Path of the bcvk binary.
        bcvk: PathBuf,
    },
}

/// Extent to which the guest may keep what it has seen; the words are virtiofsd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cache {
    /// Mode for a directory that nobody else changes, in which bcvk serves the image.
    Always,
    /// Mode in which bcvk serves directories of the host.
    Auto,
}

impl Server {
    /// Chooses the server that was asked for, else an installed one, else bcvk's own.
    pub(super) fn choose(asked: Option<&Path>, bcvk: &Path) -> Result<Self> {
        let embedded = || Self::Embedded {
            bcvk: bcvk.to_owned(),
        };
        match asked {
            Some(path) if path == OsStr::new("embedded") => Ok(embedded()),
            Some(path) => Self::at(path),
            None => installed().map_or_else(|| Ok(embedded()), |path| Self::at(&path)),
        }
    }

    fn at(path: &Path) -> Result<Self> {
        let asked = run(Command::new(path).arg("--version"), SHORT)?
            .success(&format!("run {}", path.display()))?;
        Ok(Self::Virtiofsd {
            path: path.to_owned(),
            version: asked.stdout.trim().to_owned(),
        })
    }

    /// Describes the server in the report.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Virtiofsd { path, version } => format!("{version} ({})", path.display()),
            Self::Embedded { .. } => "bcvk's own, run bare (no virtiofsd installed)".to_owned(),
        }
    }

    /// Serves `dir` read-only at `socket`, which QEMU can connect to at once.
    pub(super) fn start(
        &self,
        tree: &Tree,
        dir: &Path,
        cache: Cache,
        socket: &Path,
    ) -> Result<Running> {
        let listener =
            UnixListener::bind(socket).map_err(Error::io("listen for the file server"))?;
        let mut command = match self {
            Self::Virtiofsd { path, .. } => {
                let mut command = tree.command(path);
                command.args(["--fd=0", "--readonly", "--xattr", "--sandbox=chroot"]);
                command.args(["--log-level=error", cache.virtiofsd_option()]);
                command.arg("--shared-dir").arg(dir);
                command
            }
            Self::Embedded { bcvk } => {
                let mut command = tree.command(bcvk);
                command.args(["internal", "virtiofs", "--read-only"]);
                if cache == Cache::Always {
                    command.arg("--immutable");
                }
                command.arg("--").arg(dir);
                command
            }
        };
        Running::start(command.stdin(Stdio::from(OwnedFd::from(listener))))
    }
}

impl Cache {
    fn virtiofsd_option(self) -> &'static str {
        match self {
            Self::Always => "--cache=always",
            Self::Auto => "--cache=auto",
        }
    }
}

fn installed() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join("virtiofsd"))
        .chain(OUTSIDE_PATH.map(PathBuf::from))
        .find(|path| path.is_file())
}
