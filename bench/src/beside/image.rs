//! The image's tree, mounted as podman mounts it into bcvk's container, and the files that boot
//! from it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::process::{clean_up, run};
use bcvk_testkit::drive::say;

use super::common::SHORT;

/// A file tree that podman keeps mounted until this is dropped.
pub(super) struct Tree {
    podman: PathBuf,
    image: String,
    path: PathBuf,
}

/// Kernel and initramfs as the image ships them, copied out.
pub(super) struct BootFiles {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
}

impl Tree {
    pub(super) fn mount(podman: &Path, reference: &str) -> Result<Self> {
        let found = run(
            Command::new(podman).args(["image", "inspect", "--format={{.Id}}", reference]),
            SHORT,
        )?
        .success(&format!(
            "find image {reference} (`make images` makes the default one)"
        ))?;
        let image = found.stdout.trim().to_owned();
        let mounted = run(
            in_storage(podman, podman).args(["image", "mount", &image]),
            SHORT,
        )?
        .success(&format!("mount image {reference}"))?;
        Ok(Self {
            podman: podman.to_owned(),
            image,
            path: PathBuf::from(mounted.stdout.trim()),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the ID without the digest's name.
    pub(super) fn image_id(&self) -> &str {
        &self.image
    }

    /// Makes a command that sees the tree.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        in_storage(&self.podman, program)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let mut command = self.command(&self.podman);
        command.args(["image", "unmount", &self.image]);
        let done = clean_up(&mut command, Duration::from_secs(20));
        if let Err(error) = done.and_then(|f| f.success("unmount the image")) {
            say(&format!("warning: {error}"));
        }
    }
}

impl BootFiles {
    /// Copies them from where bootc keeps them: `/usr/lib/modules/VERSION`.
    pub(super) fn copy(tree: &Tree, to: &Path) -> Result<Self> {
        let modules = tree.path().join("usr/lib/modules");
        let found = run(
            tree.command("find").arg(modules).args([
                "-mindepth",
                "2",
                "-maxdepth",
                "2",
                "-name",
                "vmlinuz",
            ]),
            SHORT,
        )?
        .success("look for the image's kernel")?;
        let kernels: Vec<&str> = found.stdout.lines().collect();
        let [kernel] = kernels[..] else {
            return Err(Error::other(format!(
                "the image has {} kernels at /usr/lib/modules/VERSION/vmlinuz; the bench needs one",
                kernels.len()
            )));
        };
        let kernel = Path::new(kernel);
        run(
            tree.command("cp").arg("--dereference").args([
                kernel,
                &kernel.with_file_name("initramfs.img"),
                to,
            ]),
            SHORT,
        )?
        .success("copy the image's kernel and initramfs")?;
        Ok(Self {
            kernel: to.join("vmlinuz"),
            initramfs: to.join("initramfs.img"),
        })
    }
}

/// Makes a command that sees podman's mounts, which are in a namespace of their own if it is rootless.
fn in_storage(podman: &Path, program: impl AsRef<OsStr>) -> Command {
    if rustix::process::geteuid().is_root() {
        Command::new(program)
    } else {
        let mut command = Command::new(podman);
        command.arg("unshare").arg(program);
        command
    }
}
