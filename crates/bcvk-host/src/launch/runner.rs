//! Images that QEMU and the supervisor come from, for machines without QEMU.

use std::path::{Path, PathBuf};

use bcvk_contract::spec::Arch;

use crate::image::inspect::{ImageInfo, PullPolicy};
use crate::podman::Podman;
use crate::{HostError, ImageError};

/// An image with QEMU in `/usr/bin`, and with bcvk at
/// [`CONTAINER_EXE`](bcvk_contract::spec::CONTAINER_EXE) (`runner/Containerfile`). Its label
/// [`LABEL_RUNNER`](bcvk_contract::spec::LABEL_RUNNER) names the version of that bcvk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Full image ID.
    pub id: String,
    /// Path of the image's QEMU for the guest.
    pub qemu: PathBuf,
}

impl Runner {
    /// Finds the runner `reference` for guests of `arch`, as [`ImageInfo::resolve`] finds images.
    ///
    /// # Errors
    /// If the image is no runner, or a runner of another version, or cannot run such guests.
    pub fn resolve(
        podman: &Podman,
        reference: &str,
        arch: Arch,
        pull: PullPolicy,
        quiet: bool,
    ) -> Result<Self, HostError> {
        let info = ImageInfo::resolve(podman, reference, pull, quiet)?;
        Ok(Self::of(&info, arch)?)
    }

    fn of(image: &ImageInfo, arch: Arch) -> Result<Self, ImageError> {
        let reference = || image.identity.reference.clone();
        match image.runner.as_deref() {
            None => Err(ImageError::NotARunner {
                reference: reference(),
            }),
            Some(found) if found != env!("CARGO_PKG_VERSION") => Err(ImageError::RunnerVersion {
                reference: reference(),
                found: found.to_owned(),
            }),
            Some(_) if image.arch != arch => Err(ImageError::RunnerArch {
                reference: reference(),
                found: image.arch,
                wanted: arch,
            }),
            Some(_) => Ok(Self {
                id: image.identity.id.clone(),
                qemu: Self::qemu(arch),
            }),
        }
    }

    /// Returns the path of QEMU in a runner.
    #[must_use]
    pub fn qemu(arch: Arch) -> PathBuf {
        Path::new("/usr/bin").join(arch.qemu_binary())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::podman::ImageClaims;
    use bcvk_contract::spec::ImageIdentity;

    #[test]
    fn only_a_runner_of_this_version_for_this_guest_will_do() {
        let version = env!("CARGO_PKG_VERSION");
        let image = |runner: Option<&str>, arch| ImageInfo {
            identity: ImageIdentity {
                reference: "localhost/bcvk-runner".to_owned(),
                id: "4a11".to_owned(),
            },
            arch,
            bootable: false,
            bytes: 0,
            layers: Vec::new(),
            runner: runner.map(str::to_owned),
            claims: ImageClaims::default(),
        };
        let of = |runner, arch| Runner::of(&image(runner, arch), Arch::X86_64);
        let found = of(Some(version), Arch::X86_64).expect("a runner");
        assert_eq!(found.qemu, Path::new("/usr/bin/qemu-system-x86_64"));
        for (runner, arch, said) in [
            (
                None,
                Arch::X86_64,
                "image localhost/bcvk-runner is no runner",
            ),
            (
                Some("0.0.9"),
                Arch::X86_64,
                "runner localhost/bcvk-runner has bcvk 0.0.9",
            ),
            (
                Some(version),
                Arch::Aarch64,
                "runner localhost/bcvk-runner is for aarch64",
            ),
        ] {
            let error = of(runner, arch).expect_err(said).to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
