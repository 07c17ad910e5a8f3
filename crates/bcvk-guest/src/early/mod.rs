//! bcvk in a guest's early userspace: its work in the initramfs.
//!
//! The program that runs on the host travels into the initramfs and does there what would take a
//! shell and twenty further processes. In an image's own initramfs, systemd runs it as two
//! services; with `--initramfs direct` it is alone there, and it is the guest's first process.

mod disk;
mod error;
mod files;
mod init;
mod modules;
mod mounts;
mod processors;
mod root;
mod var;
mod wait;

use std::path::{Path, PathBuf};

use bcvk_contract::control::Message;
use bcvk_contract::spec::Var;
use serde::{Deserialize, Serialize};

use crate::port::tell;

pub use error::EarlyError;
pub(crate) use files::in_order;
pub use init::{INIT, init};
pub use modules::MODULES;
pub use processors::START as START_PROCESSORS;
pub(crate) use wait::WAITS;

/// Directory of bcvk's files in the initramfs.
pub const DIR: &str = "/usr/lib/bcvk";

/// Name of the file that says how the image becomes the guest's root, under [`DIR`].
pub const PLAN: &str = "root.json";

/// Path of this program in the initramfs.
pub const PROGRAM: &str = "/usr/lib/bcvk/bin/bcvk";

/// Path of this program in the image's system.
pub const SYSTEM_PROGRAM: &str = "/run/bcvk/bin/bcvk";

/// Mount point of the image until it is the root.
const SYSROOT: &str = "/sysroot";

/// Plan for making an image the root of one guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// Part that the image has in the root.
    pub(crate) root: RootKind,
    /// Layout of `/var`.
    pub(crate) var: VarLayout,
    /// File system of `/var`.
    pub(crate) var_on: Var,
    /// Size of the guest's swap device in bytes.
    pub(crate) swap: u64,
    /// File systems of the kernel that systemd need not mount.
    pub(crate) api_mounts: Vec<ApiMount>,
    /// Destination of `/root`, if it leads anywhere.
    pub(crate) home: Option<PathBuf>,
    /// Lines that are added to `/etc/environment`.
    pub(crate) environment: String,
}

/// A file system that needs no source, as a unit of the image mounts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiMount {
    /// Name of the unit.
    pub unit: String,
    /// Mount point.
    pub on: String,
    /// Type of the file system.
    pub kind: String,
    /// Options of every mount: `nosuid`, `nodev` or `noexec`.
    pub restrictions: Vec<String>,
    /// Options of this file system's own, between commas.
    pub data: String,
}

/// Root of the guest's system, as its image wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootKind {
    /// The image itself, which nobody can write to.
    #[default]
    Image,
    /// An overlay of the image, which forgets what is written to it.
    Transient,
    /// Such an overlay, mounted read-only: a process may mount it writable where others do not see
    /// that, in a mount namespace of its own.
    TransientReadOnly,
}

/// Layout of `/var`, whose root is a file system without overlays in any case: container engines put
/// overlays on it. Directories that are too large to be copied are overlays of the image's, mounted
/// there one by one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VarLayout {
    /// True if all of the image's is copied, and there are no parts.
    pub copied_whole: bool,
    /// Directories that are made anew, parents first, relative to `/var`.
    pub directories: Vec<PathBuf>,
    /// Paths that are copied.
    pub copied: Vec<PathBuf>,
    /// Directories and files that are overlays.
    pub overlaid: Vec<PathBuf>,
}

/// Starts all processors, waits for the host if the guest is to be saved before that, mounts the image at `/sysroot`, makes it writable there, and mounts what needs
/// no image.
///
/// # Errors
/// [`EarlyError`] with what could not be done.
pub fn mount_root() -> Result<(), EarlyError> {
    processors::start()?;
    modules::load()?;
    wait::await_host()?;
    root::mount_image()?;
    let plan = Plan::read()?;
    root::make_volatile(&plan)?;
    mounts::mount_api(&plan.api_mounts);
    Ok(())
}

/// Puts in place the files that the image's system starts from, and tells the host.
///
/// # Errors
/// [`EarlyError`] with what could not be done.
pub fn hand_over() -> Result<(), EarlyError> {
    files::install(&Path::new(DIR).join("run"), Path::new("/run"))?;
    tell(&Message::Initrd);
    Ok(())
}

impl Plan {
    fn read() -> Result<Self, EarlyError> {
        let path = Path::new(DIR).join(PLAN);
        let cannot = |e| EarlyError::new(format!("read {}", path.display()), e);
        let text = std::fs::read(&path).map_err(cannot)?;
        serde_json::from_slice(&text).map_err(|e| cannot(e.into()))
    }
}
