//! Choice of a VM's accelerator.

#![allow(
    clippy::disallowed_methods,
    reason = "opens devices and files of the kernel's"
)]

use std::fs::{self, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use bcvk_contract::choice;
use bcvk_contract::spec::{Accelerator, Arch};

use crate::HostError;

const KVM: &str = "/dev/kvm";

const GROUP_READ_WRITE: u32 = 0o060;
const OTHERS_READ_WRITE: u32 = 0o006;

/// Value of `--accel`.
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

choice!(AccelRequest, "an accelerator", { Auto: "auto", Kvm: "kvm", Tcg: "tcg" });

/// The accelerator that was chosen, and why KVM was passed over if it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccelChoice {
    /// Accelerator that QEMU is told to use.
    pub accel: Accelerator,
    /// Reason for not using KVM, in words for the user; only where nobody asked for TCG.
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
        Some(Obstacle { what, remedy }) if request == AccelRequest::Kvm => Err(HostError::NoKvm {
            obstacle: what,
            remedy,
        }),
        Some(Obstacle { what, remedy }) => Ok(AccelChoice {
            accel: Accelerator::Tcg,
            notice: Some(format!(
                "no KVM ({what}): the VM is emulated and boots about ten times slower{}",
                remedy.map(|r| format!("; {r}")).unwrap_or_default()
            )),
        }),
    }
}

/// Returns the groups with which a container of this user can open `/dev/kvm`, as podman's `--group-add`
/// names them; `None` if it can without.
///
/// A user namespace drops the user's groups. crun alone knows how to keep them, so bcvk asks for them
/// only where it matters: udev lets everybody in by default. Root's containers have no group of the
/// host's, and QEMU is not root in them.
pub(crate) fn kvm_groups() -> Option<String> {
    let device = fs::metadata(KVM).ok()?;
    groups_for(
        device.mode(),
        device.gid(),
        rustix::process::geteuid().is_root(),
    )
}

fn groups_for(mode: u32, gid: u32, root: bool) -> Option<String> {
    let may = |bits| mode & bits == bits;
    if may(OTHERS_READ_WRITE) {
        None
    } else if root {
        (may(GROUP_READ_WRITE) && gid != 0).then(|| gid.to_string())
    } else {
        Some("keep-groups".to_owned())
    }
}

/// Reason why KVM cannot be used.
#[derive(Debug, PartialEq, Eq)]
struct Obstacle {
    what: String,
    /// Advice to the user, if there is something that the user can do about it.
    remedy: Option<String>,
}

impl Obstacle {
    /// Makes an obstacle that nothing can be done about.
    fn lasting(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: None,
        }
    }
}

fn kvm_obstacle(guest: Arch) -> Option<Obstacle> {
    let host = Arch::host();
    if host != Some(guest) {
        return Some(Obstacle::lasting(format!(
            "the image is for {guest}, this machine is not"
        )));
    }
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if guest == Arch::X86_64 && !has_virtualisation_flag(&cpuinfo) {
        return Some(Obstacle::lasting(
            "the processor offers no hardware virtualisation",
        ));
    }
    match OpenOptions::new().read(true).write(true).open(KVM) {
        Ok(_) => None,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Some(Obstacle::lasting(format!("{KVM} does not exist")))
        }
        Err(e) => Some(Obstacle {
            remedy: (e.kind() == ErrorKind::PermissionDenied)
                .then(|| remedy_for(fs::metadata(KVM).ok(), &read_groups())),
            what: format!("{KVM} cannot be opened: {e}"),
        }),
    }
}

fn read_groups() -> String {
    fs::read_to_string("/etc/group").unwrap_or_default()
}

/// Returns the advice that lets the user open a device: to join its group, or where that would not do
/// either, to give it the mode that udev gives it by default.
fn remedy_for(device: Option<Metadata>, groups: &str) -> String {
    let group = device
        .filter(|m| m.mode() & GROUP_READ_WRITE == GROUP_READ_WRITE && m.gid() != 0)
        .and_then(|m| group_name(groups, m.gid()));
    match group {
        Some(group) => format!(
            "`sudo usermod -aG {group} \"$USER\"` and a new login let you use it (it belongs to \
             group {group})"
        ),
        None => format!("`sudo chmod 0666 {KVM}` lets you use it"),
    }
}

/// Returns the name of a group in the text of `group(5)`.
fn group_name(groups: &str, gid: u32) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then_some(name)
    })
}

/// Returns true if the processor can run virtual machines: `vmx` is Intel's flag, `svm` AMD's (Linux,
/// arch/x86/include/asm/cpufeatures.h).
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
    fn a_group_is_known_by_its_number() {
        let groups = "root:x:0:\nkvm:x:108:ana,ben\nbroken\n";
        assert_eq!(group_name(groups, 108), Some("kvm"));
        assert_eq!(group_name(groups, 10), None);
    }

    #[test]
    fn a_container_gets_groups_where_kvm_is_not_everybodys() {
        let groups = |mode, gid, root| groups_for(mode, gid, root);
        for root in [true, false] {
            assert_eq!(groups(0o20666, 108, root), None);
        }
        assert_eq!(groups(0o20660, 108, true).as_deref(), Some("108"));
        assert_eq!(groups(0o20660, 108, false).as_deref(), Some("keep-groups"));
        // QEMU stays root then.
        assert_eq!(groups(0o20600, 108, true), None);
        assert_eq!(groups(0o20660, 0, true), None);
    }

    #[test]
    fn tcg_on_request_has_nothing_to_explain() {
        let choice = choose_accelerator(AccelRequest::Tcg, Arch::X86_64).expect("always works");
        assert_eq!(choice.accel, Accelerator::Tcg);
        assert_eq!(choice.notice, None);
    }
}
