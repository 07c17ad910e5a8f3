//! The guest's `/var`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use bcvk_contract::spec::Var;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use super::VarLayout;
use super::disk::mount_disk;
use super::error::EarlyError;
use super::files::make_dir;
use super::mounts::{in_root, overlay_of, tmpfs};

/// Makes `/var` of the `root` a directory of the file system `on`, with the content of the `image`'s. A
/// file system of its own is mounted at `store`.
pub(super) fn mount_var(
    image: &Path,
    root: &Path,
    store: &Path,
    on: Var,
    layout: &VarLayout,
) -> Result<(), EarlyError> {
    let (from, var) = (image.join("var"), root.join("var"));
    make_dir(store, 0o755)?;
    match on {
        Var::Shared => {}
        Var::Memory(size) => tmpfs("bcvk-var", store, size.bytes())?,
        Var::Disk(_) => mount_disk(store)?,
    }
    let content = store.join("content");
    make_dir(&content, 0o755)?;
    if layout.copied_whole {
        copy(image, &content, &[Path::new(".")])?;
        return mount_bind(&content, &var).map_err(EarlyError::with("mount", &var));
    }
    let whole = store.join("whole");
    make_dir(&whole, 0o755)?;
    overlay_of(&from, store, 0o755, &whole)?;
    for dir in &layout.directories {
        make_like(&from.join(dir), &content.join(dir))?;
    }
    let copied: Vec<&Path> = layout.copied.iter().map(AsRef::as_ref).collect();
    if !copied.is_empty() {
        copy(image, &content, &copied)?;
    }
    for part in &layout.overlaid {
        let (source, target) = (whole.join(part), content.join(part));
        if source.is_dir() {
            make_dir(&target, 0o755)?;
        } else {
            File::create(&target).map_err(EarlyError::with("make", &target))?;
        }
    }
    mount_bind(&content, &var).map_err(EarlyError::with("mount", &var))?;
    for part in &layout.overlaid {
        let target = var.join(part);
        mount_bind(whole.join(part), &target).map_err(EarlyError::with("mount", &target))?;
    }
    Ok(())
}

/// Makes a directory with the owner and permissions of another.
fn make_like(model: &Path, dir: &Path) -> Result<(), EarlyError> {
    make_dir(dir, 0o755)?;
    let copy = || {
        let model = fs::metadata(model)?;
        chown(dir, Some(model.uid()), Some(model.gid()))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(model.mode() & 0o7777))
    };
    copy().map_err(EarlyError::with("make the directory", dir))
}

/// Copies `paths` of the image's `/var` into `content` with the image's own `cp`. It sees `content` at
/// `/run`, which is empty in an image.
fn copy(image: &Path, content: &Path, paths: &[&Path]) -> Result<(), EarlyError> {
    let run = image.join("run");
    mount_bind(content, &run).map_err(EarlyError::with("mount", &run))?;
    let copied = in_root(image, || {
        let mut copy = Command::new("/bin/cp");
        copy.current_dir("/var").args(["-a", "--parents", "--"]);
        let status = copy.args(paths).arg("/run/").status()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("cp: {status}")))
        }
    });
    copied.map_err(|e| EarlyError::new("copy the image's /var", e))?;
    unmount(&run, UnmountFlags::empty()).map_err(EarlyError::with("unmount", &run))
}
