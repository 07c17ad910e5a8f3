//! Properties of an image or its kernel that keep a VM from being saved or resumed.

use std::io;
use std::path::Path;

use bcvk_contract::spec::{CONTAINER_IMAGE, Snapshot, UnitFile, VmSpec};
use bcvk_guest::facts::has_unit;
use bcvk_guest::rooted::Rooted;

use crate::boot::kernel::{BootSource, discover};
use crate::boot::uki::Uki;

/// The first kernel that draws new random numbers when it is resumed (Linux, drivers/virt/vmgenid.c).
const FIRST_KERNEL: (u32, u32) = (5, 18);

/// The largest UKI that is read.
const MAX_UKI: u64 = 1 << 30;

/// Why a VM of `spec` can only be booted, as far as that depends on its image.
///
/// # Errors
/// If the image cannot be read.
pub(crate) fn obstacle(spec: &VmSpec) -> io::Result<Option<String>> {
    let root = Rooted::new(Path::new(CONTAINER_IMAGE))?;
    for name in spec.units.iter().filter_map(UnitFile::name) {
        if has_unit(&root, name)? {
            let why = format!("the image has a unit {name} too, which has started before");
            return Ok(Some(why));
        }
    }
    // A guest that was saved has a kernel that notices.
    if spec.snapshot != Some(Snapshot::Save) {
        return Ok(None);
    }
    // What keeps an image from booting is told when it boots.
    let Ok(source) = discover(&root, spec.arch) else {
        return Ok(None);
    };
    Ok(kernel_obstacle(release(&root, source)?.as_deref()))
}

fn release(root: &Rooted, source: BootSource) -> io::Result<Option<String>> {
    let path = match source {
        BootSource::Split { version, .. } => return Ok(Some(version)),
        BootSource::Uki { version, .. } if version.is_some() => return Ok(version),
        BootSource::Uki { path, .. } => path,
    };
    let uki = root.read(&path, MAX_UKI)?;
    Ok(Uki::parse(&uki).ok().and_then(|uki| uki.uname))
}

/// Why a guest with a kernel of this release is not saved: it has to hear that it was resumed, or all
/// that are would draw the same random numbers.
fn kernel_obstacle(release: Option<&str>) -> Option<String> {
    let Some(release) = release else {
        return Some("the release of its kernel is not known".to_owned());
    };
    if version(release) >= Some(FIRST_KERNEL) {
        return None;
    }
    let (major, minor) = FIRST_KERNEL;
    Some(format!(
        "its kernel {release} is older than {major}.{minor} and would not notice that it is resumed"
    ))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse().ok();
    Some((number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_unknown_kernels_are_not_saved() {
        for (release, saved) in [
            (Some("6.12.38+deb13-amd64"), true),
            (Some("5.18.0"), true),
            (Some("5.18-rc1"), true),
            (Some("10.0"), true),
            (Some("5.17.15"), false),
            (Some("5.14.0-570.el9.x86_64"), false),
            (Some("4.18.0-553.el8"), false),
            (Some("vmlinuz"), false),
            (Some("6"), false),
            (None, false),
        ] {
            let why = kernel_obstacle(release);
            assert_eq!(why.is_none(), saved, "{release:?}: {why:?}");
        }
    }
}
