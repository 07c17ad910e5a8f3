//! Ability of this host to give its guests hardware virtualisation.

#![allow(clippy::disallowed_methods, reason = "reads files of the kernel's")]

use std::fs;
use std::path::Path;

use bcvk_contract::spec::{Accelerator, Arch};

use crate::HostError;

/// Kernel modules that run VMs on x86-64. Each has a parameter `nested`.
const MODULES: [&str; 2] = ["kvm_intel", "kvm_amd"];

/// Checks that a guest of `arch` under `accel` can have hardware virtualisation.
///
/// # Errors
/// [`HostError::NoNested`].
pub fn check_nested(accel: Accelerator, arch: Arch) -> Result<(), HostError> {
    match (arch, accel) {
        (Arch::Aarch64, _) => Err(HostError::NestedArch(arch)),
        (Arch::X86_64, Accelerator::Tcg) => Ok(()),
        (Arch::X86_64, Accelerator::Kvm) => turned_off(Path::new("/sys/module"))
            .map_or(Ok(()), |module| Err(HostError::NestedOff { module })),
    }
}

/// Returns the module of KVM that keeps hardware virtualisation from guests. `modules` is
/// `/sys/module`; where it tells of no such module, KVM may be another's, and gives what it has.
fn turned_off(modules: &Path) -> Option<&'static str> {
    MODULES.into_iter().find(|module| {
        let parameter = modules.join(module).join("parameters/nested");
        // kvm_intel's is a boolean, kvm_amd's a number.
        fs::read_to_string(parameter).is_ok_and(|value| ["N", "0"].contains(&value.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_whether_its_guests_get_it() {
        let modules = tempfile::tempdir().expect("temporary directory");
        assert_eq!(turned_off(modules.path()), None);
        let parameters = modules.path().join("kvm_amd/parameters");
        fs::create_dir_all(&parameters).expect("make a directory");
        for (value, module) in [
            ("1\n", None),
            ("Y\n", None),
            ("0\n", Some("kvm_amd")),
            ("N\n", Some("kvm_amd")),
        ] {
            fs::write(parameters.join("nested"), value).expect("write");
            assert_eq!(turned_off(modules.path()), module, "{value}");
        }
    }

    #[test]
    fn emulation_needs_nothing_of_the_hosts() {
        check_nested(Accelerator::Tcg, Arch::X86_64).expect("QEMU emulates it");
        let error = check_nested(Accelerator::Tcg, Arch::Aarch64).expect_err("only x86-64 has it");
        assert!(error.to_string().contains("aarch64"), "{error}");
    }
}
