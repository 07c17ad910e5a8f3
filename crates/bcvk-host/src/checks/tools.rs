//! Programs of the host.

use std::env;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bcvk_contract::spec::Arch;

use crate::HostError;

/// Environment variables that make podman the client of a service (podman(1)).
const REMOTE: [&str; 2] = ["CONTAINER_HOST", "CONTAINER_CONNECTION"];

/// A program that bcvk runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Program that manages the container.
    Podman,
    /// OpenSSH's client.
    Ssh,
    /// OpenSSH's program that copies files.
    Scp,
    /// QEMU's system emulator for an architecture.
    Qemu(Arch),
    /// Program that makes disk images.
    QemuImg,
}

impl Tool {
    /// Returns the tool's file name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Ssh => "ssh",
            Self::Scp => "scp",
            Self::Qemu(arch) => arch.qemu_binary(),
            Self::QemuImg => "qemu-img",
        }
    }
}

/// A program's version, as far as bcvk compares versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The number before the first dot.
    pub major: u32,
    /// The number after the first dot.
    pub minor: u32,
}

impl Version {
    /// Asks `program`, which is `tool`, for its version. Returns `None` if it does not say, or not in
    /// a way that is known.
    #[must_use]
    pub fn of(tool: Tool, program: &Path) -> Option<Self> {
        let flag = match tool {
            Tool::Ssh => "-V",
            _ => "--version",
        };
        let output = Command::new(program)
            .arg(flag)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        // OpenSSH prints its version on stderr.
        let said = [output.stdout, output.stderr].concat();
        Self::find(&String::from_utf8_lossy(&said))
    }

    /// Finds the first number that is followed by a dot and another number: `podman version 4.3.1`,
    /// `OpenSSH_9.2p1 Debian-2`.
    fn find(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.')
            .find_map(|word| {
                let mut numbers = word.split('.');
                Some(Self {
                    major: numbers.next()?.parse().ok()?,
                    minor: numbers.next()?.parse().ok()?,
                })
            })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Finds `tool` in `PATH` and in `/usr/libexec`, where some distributions keep the QEMU of the host's
/// own architecture (`qemu-kvm` on CentOS and RHEL).
///
/// # Errors
/// [`HostError::RemotePodman`] where podman would not work on this machine itself;
/// [`HostError::ToolMissing`]; [`HostError::QemuOutsideUsr`] for a QEMU that the container could
/// not see, because only the host's `/usr` is mounted into it.
pub fn find_tool(tool: Tool) -> Result<PathBuf, HostError> {
    if tool == Tool::Podman
        && let Some(variable) = REMOTE.into_iter().find(|name| env::var_os(name).is_some())
    {
        return Err(HostError::RemotePodman { variable });
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = env::split_paths(&path)
        .map(|dir| dir.join(tool.program()))
        .collect();
    if matches!(tool, Tool::Qemu(arch) if Arch::host() == Some(arch)) {
        candidates.push(PathBuf::from("/usr/libexec/qemu-kvm"));
    }
    let found = candidates
        .into_iter()
        .find(|path| {
            fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
        .ok_or(HostError::ToolMissing(tool))?;
    if !matches!(tool, Tool::Qemu(_)) {
        return Ok(found);
    }
    let real = fs::canonicalize(&found).unwrap_or(found);
    if real.starts_with("/usr") {
        Ok(real)
    } else {
        Err(HostError::QemuOutsideUsr(real))
    }
}

/// Checks that the QEMU at `path` has a network that needs no rights: RHEL's and its derivatives' has
/// none.
///
/// # Errors
/// [`HostError::NoUserNetwork`].
pub fn check_user_network(path: &Path) -> Result<(), HostError> {
    let output = Command::new(path)
        .args(["-netdev", "help"])
        .stdin(Stdio::null())
        .output()
        .map_err(HostError::io(format!("run {}", path.display())))?;
    let listed = String::from_utf8_lossy(&output.stdout);
    if lacks_user_network(&listed) {
        Err(HostError::NoUserNetwork(path.to_owned()))
    } else {
        Ok(())
    }
}

/// Returns true if QEMU lists types of networks, one a line, and none is its own user network.
fn lacks_user_network(listed: &str) -> bool {
    let has = |kind: &str| listed.lines().any(|line| line.trim() == kind);
    // Every QEMU can connect two of its kind by a socket.
    has("socket") && !has("user")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qemu_that_lists_no_user_network_has_none() {
        let list = "Available netdev backend types:\nsocket\nstream\nhubport\ntap\n";
        assert!(lacks_user_network(list));
        assert!(!lacks_user_network(&format!("{list}user\n")));
        assert!(!lacks_user_network("qemu: -netdev help: what?\n"));
    }

    #[test]
    fn programs_say_their_versions_in_their_own_ways() {
        for (text, version) in [
            ("podman version 4.3.1\n", "4.3"),
            (
                "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\n",
                "10.0",
            ),
            ("OpenSSH_9.2p1 Debian-2+deb12u7, OpenSSL 3.0.17\n", "9.2"),
            ("qemu-img version 8.2.0\n", "8.2"),
        ] {
            let found = Version::find(text).map(|version| version.to_string());
            assert_eq!(found.as_deref(), Some(version), "{text}");
        }
        assert_eq!(Version::find("command not found"), None);
        let of = |major, minor| Version { major, minor };
        assert!(of(4, 3) < of(4, 10) && of(4, 10) < of(10, 0));
    }
}
