//! Programs of the host.

use std::env;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bcvk_contract::spec::Arch;

use crate::HostError;

/// A program that bcvk runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Program that manages the container.
    Podman,
    /// OpenSSH's client.
    Ssh,
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
/// [`HostError::ToolMissing`]; [`HostError::QemuOutsideUsr`] for a QEMU that the container could
/// not see, because only the host's `/usr` is mounted into it.
pub fn find_tool(tool: Tool) -> Result<PathBuf, HostError> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
