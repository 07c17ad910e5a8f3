//! Search for the kernel that an image boots with.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use bcvk_contract::spec::Arch;
use bcvk_guest::rooted::{EntryKind, Rooted, if_exists};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::uki;

/// Directories of the UKIs that a boot loader would list, bootc's own among them.
const UKI_DIRECTORIES: [&str; 2] = ["/boot/EFI/Linux", "/boot/EFI/Linux/bootc"];

/// Directory in which every kernel has a directory named after its release.
pub(super) const MODULES: &str = "/usr/lib/modules";

/// Kernel that an image boots with. Paths are as seen in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum BootSource {
    /// A unified kernel image.
    Uki {
        /// The EFI program.
        path: PathBuf,
        /// The kernel's release, if the path tells it.
        version: Option<String>,
    },
    /// A kernel and an initramfs beside each other.
    Split {
        /// The kernel, compressed as the distribution has it.
        kernel: PathBuf,
        /// The initramfs, compressed as the distribution has it.
        initramfs: PathBuf,
        /// The kernel's release.
        version: String,
    },
}

/// Reason why an image cannot boot.
#[derive(Debug, Error)]
pub(crate) enum BootError {
    /// The image's tree cannot be read.
    #[error("the image's kernel cannot be looked for")]
    Read(#[from] io::Error),
    /// The image has no kernel.
    #[error("No kernel found in the image: there is no {looked}{found}")]
    NoKernel {
        /// The places that were searched, as patterns.
        looked: String,
        /// Files that are there instead, as the end of the sentence; may be empty.
        found: String,
    },
    /// The image has more than one kernel, and nothing says which is meant.
    #[error("the image has {} {what}, and a VM can boot only one: {}", paths.len(), list(paths))]
    Several {
        /// Name of the things that there are too many of, in the plural.
        what: &'static str,
        /// Paths of all of them.
        paths: Vec<PathBuf>,
    },
    /// The kernel has no initramfs.
    #[error("the image's kernel {} has no initramfs: there is no {}", kernel.display(), expected.display())]
    NoInitramfs {
        /// The kernel.
        kernel: PathBuf,
        /// Path at which its initramfs should be.
        expected: PathBuf,
        /// The kernel's release.
        version: String,
    },
    /// The guest's processor cannot run the kernel.
    #[error("the image's kernel {} is for {}, and the image for {arch}", kernel.display(), found.map_or("another architecture", Arch::name))]
    WrongArch {
        /// The kernel or UKI.
        kernel: PathBuf,
        /// Architecture that the kernel is for, if that has a name.
        found: Option<Arch>,
        /// Architecture that the image is for.
        arch: Arch,
    },
}

impl BootError {
    /// Returns the remedy, as a sentence for the user; `None` if there is nothing to say.
    #[must_use]
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Read(_) => None,
            Self::NoKernel { .. } => Some(
                "boot a bootc image: those bring their kernel along in /usr/lib/modules (see \
                 https://bootc-dev.github.io/bootc/bootc-images.html)"
                    .to_owned(),
            ),
            Self::Several { .. } => Some(
                "remove all but one of them in the image's build; bootc does not deploy such an \
                 image either"
                    .to_owned(),
            ),
            Self::NoInitramfs {
                expected, version, ..
            } => Some(format!(
                "make it in the image's build: dracut --force --no-hostonly --kver {version} {}",
                expected.display()
            )),
            Self::WrongArch { .. } => Some(
                "install the kernel package of the image's own architecture in the image's build"
                    .to_owned(),
            ),
        }
    }
}

/// Finds the kernel that the image of architecture `arch` under `root` boots with.
///
/// UKIs come first: `/boot/EFI/Linux/*.efi`, `/boot/EFI/Linux/bootc/*.efi` and
/// `/usr/lib/modules/VERSION/VERSION.efi`. Next comes `/usr/lib/modules/VERSION/vmlinuz` with its
/// `initramfs.img`. Directories of modules without a kernel do not count.
///
/// # Errors
/// See [`BootError`]; in particular if there is not exactly one candidate.
pub(crate) fn discover(root: &Rooted, arch: Arch) -> Result<BootSource, BootError> {
    let versions = kernel_versions(root)?;

    let mut ukis = Vec::new();
    for directory in UKI_DIRECTORIES {
        for entry in if_exists(root.read_dir(directory))?.unwrap_or_default() {
            let path = Path::new(directory).join(entry.name);
            let is_efi = path
                .extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("efi"));
            if is_efi && is_file(root, &path)? {
                ukis.push((path, None));
            }
        }
    }
    let mut kernels = Vec::new();
    for version in &versions {
        let directory = Path::new(MODULES).join(version);
        let path = directory.join(format!("{version}.efi"));
        if is_file(root, &path)? {
            ukis.push((path, Some(version.clone())));
        }
        let kernel = directory.join("vmlinuz");
        if is_file(root, &kernel)? {
            kernels.push((kernel, version.clone()));
        }
    }

    if let Some((path, version)) = one_of(ukis, "unified kernel images")? {
        check_arch(root, &path, arch)?;
        return Ok(BootSource::Uki { path, version });
    }
    if let Some((kernel, version)) = one_of(kernels, "kernels")? {
        let initramfs = kernel.with_file_name("initramfs.img");
        if !is_file(root, &initramfs)? {
            return Err(BootError::NoInitramfs {
                kernel,
                expected: initramfs,
                version,
            });
        }
        check_arch(root, &kernel, arch)?;
        return Ok(BootSource::Split {
            kernel,
            initramfs,
            version,
        });
    }
    Err(no_kernel(&versions))
}

/// Returns the names of the directories in `/usr/lib/modules`, sorted.
fn kernel_versions(root: &Rooted) -> io::Result<Vec<String>> {
    let mut versions = Vec::new();
    for entry in if_exists(root.read_dir(MODULES))?.unwrap_or_default() {
        // A release is ASCII. A name that is not can be no release, nor have a UKI named after it.
        if matches!(entry.kind, EntryKind::Directory | EntryKind::Symlink)
            && let Ok(version) = entry.name.into_string()
        {
            versions.push(version);
        }
    }
    Ok(versions)
}

/// Returns true if `path` is a regular file that is not empty.
fn is_file(root: &Rooted, path: &Path) -> io::Result<bool> {
    let metadata = if_exists(root.metadata(path))?;
    Ok(metadata.is_some_and(|m| m.is_file() && m.len() > 0))
}

/// Returns the only candidate, if there is any.
fn one_of<T>(
    mut candidates: Vec<(PathBuf, T)>,
    what: &'static str,
) -> Result<Option<(PathBuf, T)>, BootError> {
    if candidates.len() > 1 {
        let paths = candidates.into_iter().map(|(path, _)| path).collect();
        return Err(BootError::Several { what, paths });
    }
    Ok(candidates.pop())
}

/// Refuses a kernel that names another architecture. Not every kernel names one.
fn check_arch(root: &Rooted, kernel: &Path, arch: Arch) -> Result<(), BootError> {
    let Some(machine) = uki::machine_of(&root.open(kernel)?)? else {
        return Ok(());
    };
    let found = uki::arch(machine);
    if found == Some(arch) {
        return Ok(());
    }
    Err(BootError::WrongArch {
        kernel: kernel.to_owned(),
        found,
        arch,
    })
}

fn no_kernel(versions: &[String]) -> BootError {
    let mut looked = String::new();
    for directory in UKI_DIRECTORIES {
        let _ = write!(looked, "{directory}/*.efi, ");
    }
    let _ = write!(
        looked,
        "{MODULES}/VERSION/VERSION.efi or {MODULES}/VERSION/vmlinuz"
    );
    let found = match versions {
        [] => format!("; {MODULES} has no directory for any kernel"),
        versions => format!("; {MODULES} has only modules, for {}", versions.join(", ")),
    };
    BootError::NoKernel { looked, found }
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests;
