//! An image's SSH server.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::units::{self, Unit, Units};
use super::{any_exists, names};
use crate::rooted::{Rooted, if_exists};

/// Names of the service: Debian's, and everyone else's.
const SERVICES: [&str; 2] = ["ssh.service", "sshd.service"];
const SOCKETS: [&str; 2] = ["ssh.socket", "sshd.socket"];

/// Paths of the program.
pub(crate) const PROGRAMS: [&str; 4] = [
    "/usr/sbin/sshd",
    "/usr/bin/sshd",
    "/usr/local/sbin/sshd",
    "/sbin/sshd",
];

/// Paths of the program that serves one connection since OpenSSH 9.8.
pub(crate) const SESSION_PROGRAMS: [&str; 3] = [
    "/usr/lib/openssh/sshd-session",
    "/usr/libexec/openssh/sshd-session",
    "/usr/lib/ssh/sshd-session",
];

/// State of OpenSSH's server in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Sshd {
    /// It starts at boot.
    Enabled {
        /// The service.
        unit: String,
    },
    /// It starts when somebody connects.
    SocketActivated {
        /// The socket unit.
        unit: String,
    },
    /// It has a unit, which nothing starts.
    Installed {
        /// The service, or the socket unit if there is no service.
        unit: String,
    },
    /// It has a unit that was masked, so that nothing can start that.
    Masked {
        /// The unit.
        unit: String,
    },
    /// There is the program, without any unit.
    BinaryOnly {
        /// The program.
        path: PathBuf,
    },
    /// There is none.
    Absent,
}

impl Sshd {
    /// Returns the unit that there is, masked or not.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::Enabled { unit }
            | Self::SocketActivated { unit }
            | Self::Installed { unit }
            | Self::Masked { unit } => Some(unit),
            Self::BinaryOnly { .. } | Self::Absent => None,
        }
    }

    /// Returns true if the file of this name is a unit that starts sshd.
    #[must_use]
    pub fn is_unit(name: &str) -> bool {
        SERVICES.contains(&name) || SOCKETS.contains(&name)
    }

    /// Returns true if the guest answers SSH without anybody's help.
    #[must_use]
    pub const fn answers_by_itself(&self) -> bool {
        matches!(self, Self::Enabled { .. } | Self::SocketActivated { .. })
    }
}

pub(super) fn read(root: &Rooted, units: &Units) -> io::Result<Sshd> {
    for unit in SERVICES {
        if units.runs_at_boot(root, unit)? {
            return Ok(Sshd::Enabled {
                unit: unit.to_owned(),
            });
        }
    }
    for unit in SOCKETS {
        if units.runs_at_boot(root, unit)? {
            return Ok(Sshd::SocketActivated {
                unit: unit.to_owned(),
            });
        }
    }
    let mut masked = None;
    for unit in SERVICES {
        match units::find(root, unit)? {
            Unit::Present(unit) => return Ok(Sshd::Installed { unit }),
            Unit::Masked => masked = masked.or(Some(unit)),
            Unit::Absent => {}
        }
    }
    let program = program(root)?;
    // Somebody masked the service on purpose, and a socket beside it does not outvote that.
    if let Some(unit) = masked {
        return Ok(program.map_or(Sshd::Absent, |_| Sshd::Masked {
            unit: unit.to_owned(),
        }));
    }
    for unit in SOCKETS {
        if let Unit::Present(unit) = units::find(root, unit)? {
            return Ok(Sshd::Installed { unit });
        }
    }
    Ok(program.map_or(Sshd::Absent, |path| Sshd::BinaryOnly { path }))
}

fn program(root: &Rooted) -> io::Result<Option<PathBuf>> {
    for path in PROGRAMS {
        if any_exists(root, &[path])? {
            return Ok(Some(path.into()));
        }
    }
    Ok(None)
}

/// Returns true if there is a private host key with something in it, where sshd_config(5) has them.
pub(super) fn has_host_keys(root: &Rooted) -> io::Result<bool> {
    for name in names(root, "/etc/ssh")? {
        if name.starts_with("ssh_host_") && name.ends_with("_key") {
            let key = if_exists(root.metadata(format!("/etc/ssh/{name}")))?;
            if key.is_some_and(|k| k.is_file() && k.len() > 0) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
