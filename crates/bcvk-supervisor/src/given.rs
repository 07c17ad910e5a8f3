//! Things that a guest is given of its image beside the image itself: a kernel, an initramfs, and all
//! that follows from facts about the image. A snapshot holds for no image of which something else would be
//! given.

use std::io;
use std::path::{Path, PathBuf};

use bcvk_contract::spec::{Arch, Sha256Digest};
use bcvk_guest::facts::GuestFacts;
use bcvk_guest::rooted::Rooted;
use sha2::{Digest, Sha256};

use crate::boot::kernel::{BootSource, discover};
use crate::boot::{kargs, modules};

/// Returns a digest of all that follows from the image at `root`, but for the content of [`files`].
///
/// # Errors
/// If the image cannot be read, or cannot boot.
pub(crate) fn digest(root: &Rooted, arch: Arch) -> io::Result<Sha256Digest> {
    let facts = GuestFacts::read(root)?;
    let kargs = kargs::read(root, arch).map_err(io::Error::other)?;
    let source = discover(root, arch).map_err(io::Error::other)?;
    let text = serde_json::to_vec(&(facts, kargs, source))?;
    Ok(Sha256Digest(Sha256::digest(text).into()))
}

/// Returns the files whose content the guest is given, without links in their paths.
///
/// # Errors
/// As [`digest`].
pub(crate) fn files(root: &Rooted, arch: Arch) -> io::Result<Vec<PathBuf>> {
    let (mut paths, version) = match discover(root, arch).map_err(io::Error::other)? {
        BootSource::Uki { path, version } => (vec![path], version),
        BootSource::Split {
            kernel,
            initramfs,
            version,
        } => (vec![kernel, initramfs], Some(version)),
    };
    if let Some(version) = version {
        // No VM that is saved has a disk for /var.
        let modules = modules::files(root, &version, false).map_err(io::Error::other)?;
        paths.extend(modules::lists(&version));
        paths.extend(modules);
    }
    let there = |path: &Path| root.destination(path);
    paths.iter().map(|path| there(path)).collect()
}
