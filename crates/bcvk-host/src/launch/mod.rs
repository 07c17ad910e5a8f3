//! Start of a container from a resolved spec, and removal of everything when the start fails.

pub(crate) mod runner;
pub(crate) mod started;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use bcvk_contract::key_pair::KeyPair;
use bcvk_contract::missing::if_exists;
use bcvk_contract::spec::{Accelerator, Label, Lifetime, PortForward, SnapshotStage, VmSpec};
use bcvk_contract::status;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::checks::accel::kvm_groups;
use crate::checks::trial::INTO_USR;
use crate::launch::runner::Runner;
use crate::launch::started::Started;
use crate::podman::ImageClaims;
use crate::podman::{
    ContainerPlan, Limits, Podman, Ulimits, lost_image_mount, run_args, stderr_of,
};
use crate::resources::disk::{NewDisk, make_disk};
use crate::resources::output::CreatedFiles;
use crate::resources::storage;
use crate::saved::{HeldSnapshot, SnapshotEntry, start_keeper};
use crate::ssh;
use crate::ssh::Side;
use crate::vm::dir::{VmDir, VmDirs};
use crate::{HostError, Operation};

/// Most attempts to start a container if podman fails only for the image's mount.
const IMAGE_ATTEMPTS: u32 = 5;

/// Everything that is decided before the first effect.
#[derive(Debug)]
pub struct Launch {
    /// Description of the VM that the supervisor obeys.
    pub spec: VmSpec,
    /// The bcvk binary.
    pub exe: PathBuf,
    /// The image that QEMU comes from, if not from the host's `/usr`.
    pub runner: Option<Runner>,
    /// The image's wishes for the container, which are overruled.
    pub claims: ImageClaims,
    /// Limits for the container, if the host can enforce them.
    pub limits: Option<Limits>,
    /// Limits for each of its processes.
    pub ulimits: Ulimits,
    /// True if the container is removed when it ends.
    pub remove: bool,
    /// True if the container's standard input stays open.
    pub interactive: bool,
    /// True if the container gets a terminal.
    pub tty: bool,
    /// `KEY=VALUE` labels of the user's.
    pub labels: Vec<Label>,
    /// The user's `--network`.
    pub network: Option<String>,
    /// Published ports, each with the container port that leads to the guest.
    pub publish: Vec<PortForward>,
    /// The key that lets the user in; its public half is in the spec.
    pub key: Option<KeyPair>,
    /// Disk images that do not exist yet.
    pub new_disks: Vec<NewDisk>,
    /// The user's configuration for Ignition.
    pub ignition: Option<Vec<u8>>,
    /// The user's data for cloud-init.
    pub cloud_init: Option<Vec<u8>>,
    /// The snapshots that the VM may be resumed from, the one of the latest stage first.
    pub resumes: Vec<(SnapshotStage, HeldSnapshot)>,
    /// The snapshots that are made of the VM if it boots.
    pub saves: Vec<(SnapshotStage, HeldSnapshot)>,
    /// Digests of the image's layers, the lowest first.
    pub layers: Vec<String>,
}

/// Writes the files that let the user log in to the VM `spec` with `key`, by the bcvk at `exe`, on
/// this `side`.
///
/// # Errors
/// If the directory cannot be written to.
pub fn write_ssh_access(
    dir: &VmDir,
    spec: &VmSpec,
    key: &KeyPair,
    exe: &Path,
    side: Side,
) -> io::Result<()> {
    dir.write_private("ssh_key", key.private().as_bytes())?;
    let config = ssh::config(spec, dir, exe, side);
    dir.write_private("ssh_config", config.as_bytes())
}

fn entries(snapshots: &[(SnapshotStage, HeldSnapshot)]) -> Vec<SnapshotEntry> {
    let held = snapshots.iter();
    held.map(|(_, held)| held.entry().clone()).collect()
}

fn places(snapshots: &[(SnapshotStage, HeldSnapshot)]) -> Vec<(SnapshotStage, &Path)> {
    let held = snapshots.iter();
    held.map(|(stage, held)| (*stage, held.entry().path()))
        .collect()
}

impl Launch {
    /// Makes the VM directory and starts the container. On any failure both are gone again.
    pub fn start(&self, podman: &Podman, dirs: &VmDirs) -> Result<Started, HostError> {
        let mut started = self.make_dir(podman, dirs)?;
        match self.start_in(&mut started) {
            Ok(()) => {
                started.remove = self.remove;
                Ok(started)
            }
            Err(e) => {
                // The user is told of the first error; files that cannot be removed now are swept
                // later.
                let _ = started.discard();
                Err(e)
            }
        }
    }

    /// Makes all that [`Launch::start`] makes, but leaves the container to the user, who gets a shell
    /// in it instead of the supervisor. Returns the container's exit status once it has ended;
    /// nothing is left then.
    pub fn debug(&self, podman: &Podman, dirs: &VmDirs) -> Result<ExitStatus, HostError> {
        let mut started = self.make_dir(podman, dirs)?;
        let result = self.make_files(&mut started).and_then(|()| {
            let args = run_args(&ContainerPlan {
                debug: true,
                ..self.plan_in(&started.dir, None)
            });
            let status = podman.interact(&args);
            status.map_err(HostError::io("run podman"))
        });
        let removed = started.discard();
        let status = result?;
        removed?;
        Ok(status)
    }

    fn make_dir(&self, podman: &Podman, dirs: &VmDirs) -> Result<Started, HostError> {
        let (dir, hold) = dirs.create().map_err(unwritable(dirs.path()))?;
        Ok(Started {
            name: self.spec.name.to_string(),
            podman: podman.clone(),
            remove: true,
            hold: Some(hold),
            cli_lock: None,
            created: CreatedFiles::default(),
            resumes: entries(&self.resumes),
            saves: entries(&self.saves),
            dir,
        })
    }

    fn make_files(&self, started: &mut Started) -> Result<(), HostError> {
        for disk in &self.new_disks {
            started.created.record_file(&disk.path);
            make_disk(disk)?;
        }
        if let Some(logs) = &self.spec.logs {
            started.created.make_dir(&logs.host)?;
        }
        for port in &self.spec.serial_ports {
            started.created.make_file(&port.host)?;
        }
        self.fill(&started.dir).map_err(unwritable(
            started.dir.path().parent().unwrap_or(Path::new("/")),
        ))
    }

    fn start_in(&self, started: &mut Started) -> Result<(), HostError> {
        self.make_files(started)?;
        let dir = &started.dir;
        if self.spec.lifetime == Lifetime::Cli {
            let lock = dir.lock_as_cli();
            started.cli_lock = Some(lock.map_err(HostError::io("lock the VM directory"))?);
        }
        if !self.remove {
            for entry in started.snapshots() {
                let kept = entry.keep_for(dir);
                kept.map_err(HostError::io("keep the snapshot's directory"))?;
            }
        }
        let hooks_dir = dir.path().join("hooks");
        let hooks_dir = self.remove.then_some(hooks_dir.as_path());
        let args = run_args(&self.plan_in(dir, hooks_dir));
        let mut attempts_left = IMAGE_ATTEMPTS;
        loop {
            attempts_left -= 1;
            let output = started
                .podman
                .output(&args)
                .map_err(HostError::io("run podman"))?;
            if output.status.success() {
                if let Err(error) = storage::note(&started.podman, &started.dir) {
                    // Without the note, only a podman with this storage is asked before the directory
                    // is removed.
                    tracing::info!(%error, "where the container is kept could not be noted");
                }
                return self.keep_snapshots(started);
            }
            let stderr = stderr_of(&output);
            if attempts_left == 0 || !lost_image_mount(&stderr) {
                return Err(self.explain(&stderr));
            }
            started.remove_container()?;
            // podman refuses to overwrite this file.
            if_exists(fs::remove_file(started.dir.container_id_file()))
                .map_err(HostError::io("remove the file of a container's ID"))?;
        }
    }

    /// Starts a process for each snapshot that is to be made of the VM, which makes it.
    fn keep_snapshots(&self, started: &Started) -> Result<(), HostError> {
        for entry in &started.saves {
            start_keeper(&self.exe, entry, &started.dir)
                .map_err(HostError::io("start what keeps the snapshot"))?;
        }
        Ok(())
    }

    /// Returns the command line that [`Launch::start`] would run, with `VM_DIR` for the directory
    /// that does not exist yet.
    #[must_use]
    pub fn podman_args(&self) -> Vec<std::ffi::OsString> {
        let dir = VmDir::at("VM_DIR");
        let hooks_dir = self.remove.then_some(Path::new("VM_DIR/hooks"));
        run_args(&self.plan_in(&dir, hooks_dir))
    }

    fn plan_in<'a>(&'a self, dir: &'a VmDir, hooks_dir: Option<&'a Path>) -> ContainerPlan<'a> {
        let kvm = self.spec.accel == Accelerator::Kvm;
        ContainerPlan {
            spec: &self.spec,
            dir,
            claims: &self.claims,
            limits: self.limits,
            ulimits: self.ulimits,
            exe: &self.exe,
            runner: self.runner.as_ref().map(|runner| runner.id.as_str()),
            hooks_dir,
            remove: self.remove,
            interactive: self.interactive,
            tty: self.tty,
            debug: false,
            resumes: places(&self.resumes),
            saves: places(&self.saves),
            labels: &self.labels,
            network: self.network.as_deref(),
            publish: &self.publish,
            kvm,
            groups: kvm.then(kvm_groups).flatten(),
        }
    }

    fn fill(&self, dir: &VmDir) -> io::Result<()> {
        dir.write_spec(&self.spec)?;
        if let Some(key) = &self.key {
            write_ssh_access(dir, &self.spec, key, &self.exe, Side::Host)?;
        }
        make_qemu_root(&dir.qemu_root())?;
        let shared = dir.shared();
        let paths = shared.paths();
        DirBuilder::new().mode(0o700).create(paths.dir())?;
        status::reserve(paths.dir())?;
        if let Some(config) = &self.ignition {
            dir.write_private("ignition.json", config)?;
        }
        if let Some(data) = &self.cloud_init {
            dir.write_private("user-data", data)?;
        }
        if self.spec.lifetime == Lifetime::Cli && self.spec.purpose().executes() {
            for fifo in paths.command_streams() {
                mknodat(CWD, fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            }
        }
        if self.remove {
            let hooks = dir.path().join("hooks");
            fs::create_dir(&hooks)?;
            fs::write(
                hooks.join("forget.json"),
                serde_json::to_vec(&forget_hook(&self.exe, dir))?,
            )?;
        }
        Ok(())
    }

    /// Turns the stderr of `podman run` into an error that says what it means for the user.
    fn explain(&self, stderr: &str) -> HostError {
        let name = self.spec.name.as_str();
        if stderr.contains("is already in use") && stderr.contains(name) {
            HostError::NameTaken {
                name: name.to_owned(),
            }
        } else {
            HostError::Podman {
                action: Operation::Start,
                stderr: format!("with image {}: {stderr}", self.spec.image.reference),
            }
        }
    }
}

/// Makes the root that QEMU gets. Programs and libraries of the host are mounted into it. The rest is
/// links to them, mount points, and the directory to which the supervisor writes the container's
/// resolver.
fn make_qemu_root(root: &Path) -> io::Result<()> {
    // QEMU runs as another user, so these modes must not depend on the umask.
    let dir = |name: &str| {
        let path = root.join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(path, Permissions::from_mode(0o755))
    };
    let file = |name: &str| File::create(root.join(name)).map(drop);
    for name in ["", "usr", "etc", "etc/ld.so.conf.d", "dev", "boot"] {
        dir(name)?;
    }
    file("etc/ld.so.cache")?;
    file("dev/kvm")?;
    symlink("../boot/resolv.conf", root.join("etc/resolv.conf"))?;
    for name in INTO_USR {
        if let Some(target) = if_exists(fs::read_link(Path::new("/").join(name)))? {
            symlink(target, root.join(name))?;
        }
    }
    Ok(())
}

fn unwritable(dir: &Path) -> impl FnOnce(io::Error) -> HostError {
    let dir = dir.to_owned();
    move |source| HostError::VmDir { dir, source }
}

/// Returns the OCI hook that removes a VM directory once podman has removed the container of a `--rm`
/// VM: when `podman stop` ends a detached VM, nobody else is there to do it. Format: `oci-hooks(5)`;
/// `poststop` is from the OCI runtime specification.
fn forget_hook(exe: &Path, dir: &VmDir) -> serde_json::Value {
    json!({
        "version": "1.0.0",
        "hook": {
            "path": exe,
            "args": ["bcvk", "internal", "forget", dir.path()],
        },
        "when": { "always": true },
        "stages": ["poststop"],
    })
}

/// Removes VM directories whose containers are gone: a plain `podman rm -f`, a power cut or a killed
/// CLI leaves them behind. It costs one `podman ps`, and only when there is a candidate.
pub fn sweep(podman: &Podman, dirs: &VmDirs) -> Result<(), HostError> {
    let unused = dirs
        .unused()
        .map_err(HostError::io("list VM directories"))?;
    if unused.is_empty() {
        return Ok(());
    }
    let containers = podman.labelled()?;
    for dir in unused {
        let is_known = containers.iter().any(|c| c.vm_id() == Some(dir.id()));
        if !is_known && !storage::has_container(&dir) {
            dir.remove_if_unused()
                .map_err(HostError::io("remove a VM directory"))?;
        }
    }
    Ok(())
}
