//! Which accelerator a VM gets.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::str::FromStr;

use crate::host::HostError;
use crate::spec::{Accelerator, Arch, SpecError};

/// What the user asked for with `--accel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccelRequest {
    /// The fastest that works.
    #[default]
    Auto,
    /// KVM or an error.
    Kvm,
    /// Translation, also where KVM would work.
    Tcg,
}

impl FromStr for AccelRequest {
    type Err = SpecError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Kvm),
            "tcg" => Ok(Self::Tcg),
            other => Err(SpecError::Accelerator(other.to_owned())),
        }
    }
}

/// The decision, and why KVM was passed over if it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccelChoice {
    /// What QEMU is told to use.
    pub accel: Accelerator,
    /// Why not KVM, in words for the user; only where nobody asked for TCG.
    pub notice: Option<String>,
}

/// Decides by the guest's architecture, the processor and `/dev/kvm`.
///
/// An accessible `/dev/kvm` is not enough: on machines without hardware virtualisation (some
/// sandboxes emulate the device) a guest under KVM crawls, while TCG boots in seconds.
pub fn choose_accelerator(request: AccelRequest, guest: Arch) -> Result<AccelChoice, HostError> {
    if request == AccelRequest::Tcg {
        return Ok(AccelChoice {
            accel: Accelerator::Tcg,
            notice: None,
        });
    }
    match kvm_obstacle(guest) {
        None => Ok(AccelChoice {
            accel: Accelerator::Kvm,
            notice: None,
        }),
        Some(obstacle) if request == AccelRequest::Kvm => Err(HostError::NoKvm { obstacle }),
        Some(obstacle) => Ok(AccelChoice {
            accel: Accelerator::Tcg,
            notice: Some(format!(
                "no KVM ({obstacle}): the VM is emulated and boots about ten times slower"
            )),
        }),
    }
}

/// Whether a container of this user can open `/dev/kvm` only with the user's supplementary groups.
/// A user namespace drops them; crun alone knows how to keep them, so they are asked for only where
/// it matters: udev lets everybody in by default.
pub(super) fn kvm_needs_groups() -> bool {
    const OTHERS_READ_WRITE: u32 = 0o006;
    !rustix::process::geteuid().is_root()
        && fs::metadata("/dev/kvm")
            .is_ok_and(|m| m.permissions().mode() & OTHERS_READ_WRITE != OTHERS_READ_WRITE)
}

fn kvm_obstacle(guest: Arch) -> Option<String> {
    let host = Arch::host();
    if host != Some(guest) {
        return Some(format!("the image is for {guest}, this machine is not"));
    }
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if guest == Arch::X86_64 && !has_virtualisation_flag(&cpuinfo) {
        return Some("the processor offers no hardware virtualisation".to_owned());
    }
    match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Ok(_) => None,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Some("/dev/kvm does not exist".to_owned())
        }
        Err(e) => Some(format!("/dev/kvm cannot be opened: {e}")),
    }
}

/// `vmx` is Intel's, `svm` AMD's (Linux, arch/x86/include/asm/cpufeatures.h).
fn has_virtualisation_flag(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .flat_map(str::split_whitespace)
        .any(|flag| flag == "vmx" || flag == "svm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_flags_count() {
        assert!(has_virtualisation_flag("model\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualisation_flag("flags : svm\n"));
        assert!(!has_virtualisation_flag("flags : fpu avx vmx_like\n"));
        assert!(!has_virtualisation_flag("vmx flags : ept\n"));
    }

    #[test]
    fn tcg_on_request_has_nothing_to_explain() {
        let choice = choose_accelerator(AccelRequest::Tcg, Arch::X86_64).expect("always works");
        assert_eq!(choice.accel, Accelerator::Tcg);
        assert_eq!(choice.notice, None);
    }
}
