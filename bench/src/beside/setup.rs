//! Preparation that every measurement needs: programs, image tree, boot files, keys.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bcvk_contract::spec::{Accelerator, Arch};
use bcvk_host::{AccelRequest, Tool, VmDirs, choose_accelerator, find_tool};
use bcvk_testkit::drive::build::{self, target_dir};
use bcvk_testkit::drive::error::{Error, Result};
use tempfile::TempDir;

use super::Options;
use super::image::{BootFiles, Tree};
use super::keys::Keys;
use super::server::Server;

/// Preparation of a bench. Dropping it undoes everything; the fields are in the order in which that
/// has to happen.
pub(super) struct Setup {
    pub(super) bcvk: PathBuf,
    pub(super) qemu: PathBuf,
    pub(super) ssh: PathBuf,
    pub(super) podman: PathBuf,
    pub(super) accel: Accelerator,
    pub(super) vcpus: u32,
    pub(super) image: String,
    pub(super) vm_dirs: VmDirs,
    /// The file server of the VM started by hand.
    pub(super) server: Server,
    pub(super) boot: BootFiles,
    pub(super) keys: Keys,
    pub(super) tree: Tree,
    pub(super) work: TempDir,
    /// The file to read and its directory are kept from one bench to the next.
    pub(super) data_dir: PathBuf,
    pub(super) json: PathBuf,
    /// Limit for a VM to answer.
    pub(super) limit: Duration,
}

impl Setup {
    pub(super) fn make(options: &Options) -> Result<Self> {
        let arch = Arch::host().ok_or_else(|| Error::other("no guests for this machine"))?;
        if arch != Arch::X86_64 {
            return Err(Error::other(
                "the QEMU started by hand is written for x86-64 only",
            ));
        }
        let tool = |tool| find_tool(tool).map_err(|e| Error::other(e.to_string()));
        let accel = choose_accelerator(AccelRequest::Auto, arch)
            .map_err(|e| Error::other(e.to_string()))?;
        let target = target_dir()?;
        let bcvk = match &options.bcvk {
            Some(path) => {
                fs::canonicalize(path).map_err(Error::io(format!("find {}", path.display())))?
            }
            None => build::release()?,
        };
        let podman = tool(Tool::Podman)?;
        let work = tempfile::Builder::new()
            .prefix("bcvk-bench-")
            .tempdir()
            .map_err(Error::io("make a temporary directory"))?;
        let keys = Keys::make(work.path())?;
        let runtime_dir = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let vm_dirs = VmDirs::open(runtime_dir.as_deref())
            .map_err(Error::io("find bcvk's VM directories"))?;
        let tree = Tree::mount(&podman, &options.image)?;
        let boot = BootFiles::copy(&tree, work.path())?;
        Ok(Self {
            qemu: tool(Tool::Qemu(arch))?,
            ssh: tool(Tool::Ssh)?,
            accel: accel.accel,
            vcpus: host_cpus(),
            image: options.image.clone(),
            vm_dirs,
            server: Server::choose(options.virtiofsd.as_deref(), &bcvk)?,
            boot,
            keys,
            tree,
            work,
            data_dir: target.join("bench-data"),
            json: options
                .json
                .clone()
                .unwrap_or_else(|| target.join("bench.json")),
            limit: options.limit(),
            bcvk,
            podman,
        })
    }

    /// Makes the command `bcvk ephemeral …`.
    pub(super) fn ephemeral<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.bcvk);
        command.arg("ephemeral").args(words);
        command
    }
}

/// Counts the processors as bcvk does for a VM without `--vcpus`.
fn host_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}
