//! Programs of the host.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::host::HostError;
use crate::spec::Arch;

/// A program that bcvk runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Manages the container.
    Podman,
    /// OpenSSH's client.
    Ssh,
    /// QEMU's system emulator for an architecture.
    Qemu(Arch),
    /// Makes disk images.
    QemuImg,
}

impl Tool {
    /// Its file name.
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

/// Finds `tool` in `PATH`, besides in `/usr/libexec`, where some distributions keep the QEMU of the
/// host's own architecture (`qemu-kvm` on CentOS and RHEL).
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
