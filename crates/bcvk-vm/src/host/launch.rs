//! From a resolved spec to a running container, and back to nothing when that fails.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::accel::kvm_needs_groups;
use super::console::GuestLog;
use super::disk::{NewDisk, make_disk};
use super::image::ImageClaims;
use super::lock::Lock;
use super::made::Made;
use super::podman::{ContainerPlan, Limits, Podman, lost_image_mount, run_args, stderr_of};
use super::runner::Runner;
use super::saved::{HeldSnapshot, SnapshotEntry, start_keeper};
use super::storage;
use super::trial::INTO_USR;
use super::vmdir::{VmDir, VmDirs};
use crate::host::{HostError, Operation};
use crate::missing::if_exists;
use crate::spec::{Accelerator, Label, Lifetime, PortForward, Purpose, Snapshot, Stream, VmSpec};
use crate::ssh::client::Side;
use crate::ssh::{KeyPair, client};
use crate::status::{self, Phase, Status};

/// How often podman is asked for a container that lacks nothing but its image's mount.
const IMAGE_ATTEMPTS: u32 = 5;

/// Everything that is decided before the first effect.
#[derive(Debug)]
pub struct Launch {
    /// What the supervisor will do.
    pub spec: VmSpec,
    /// The bcvk binary.
    pub exe: PathBuf,
    /// The image that QEMU comes from, if not from the host's `/usr`.
    pub runner: Option<Runner>,
    /// The image's wishes for the container, which are overruled.
    pub claims: ImageClaims,
    /// The most that the container may take, where the host can hold it to that.
    pub limits: Option<Limits>,
    /// Whether the container goes away when it ends.
    pub remove: bool,
    /// Whether the container's standard input stays open.
    pub interactive: bool,
    /// Whether the container gets a terminal.
    pub tty: bool,
    /// `KEY=VALUE` labels of the user's.
    pub labels: Vec<Label>,
    /// The user's `--network`.
    pub network: Option<String>,
    /// Published ports, each with the container port that leads to the guest.
    pub publish: Vec<(PortForward, u16)>,
    /// The key that lets the user in; its public half is in the spec.
    pub key: Option<KeyPair>,
    /// Disk images that do not exist yet.
    pub new_disks: Vec<NewDisk>,
    /// The user's configuration for Ignition.
    pub ignition: Option<Vec<u8>>,
    /// The VM's snapshot: one that it is resumed from, or one that is to be made.
    pub snapshot: Option<HeldSnapshot>,
}

/// Writes what lets the user of the VM `spec` in with `key`, by the bcvk at `exe`, on this `side`.
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
    let config = client::config(&spec.name, dir, exe, side);
    dir.write_private("ssh_config", config.as_bytes())
}

/// A container that podman has started.
#[derive(Debug)]
pub struct Started {
    /// Its VM directory.
    pub dir: VmDir,
    name: String,
    podman: Podman,
    remove: bool,
    hold: Option<Lock>,
    cli_lock: Option<Lock>,
    /// Files and directories of the user's that did not exist before.
    made: Made,
    snapshot: Option<SnapshotEntry>,
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
                // The first error is the one to tell; what cannot be removed is swept later.
                let _ = started.discard();
                Err(e)
            }
        }
    }

    /// Makes all that [`Launch::start`] makes, but leaves the container to the user, who gets a
    /// shell in it instead of the supervisor. Returns its exit status once it has ended; nothing
    /// is left then.
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
            made: Made::default(),
            snapshot: self.snapshot.as_ref().map(|held| held.entry().clone()),
            dir,
        })
    }

    fn make_files(&self, started: &mut Started) -> Result<(), HostError> {
        for disk in &self.new_disks {
            started.made.file(&disk.path);
            make_disk(disk)?;
        }
        if let Some(logs) = &self.spec.logs {
            started.made.make_dir(&logs.host)?;
        }
        for port in &self.spec.serial_ports {
            started.made.make_file(&port.host)?;
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
        if let (Some(entry), false) = (&started.snapshot, self.remove) {
            let kept = entry.keep_for(dir);
            kept.map_err(HostError::io("keep the snapshot's directory"))?;
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
                    // Only a podman with this storage is then asked before the directory is removed.
                    tracing::info!(%error, "where the container is kept could not be noted");
                }
                return self.keep_snapshot(started);
            }
            let stderr = stderr_of(&output);
            if attempts_left == 0 || !lost_image_mount(&stderr) {
                return Err(self.explain(&stderr));
            }
            started.remove_container()?;
            // podman refuses to write over it.
            if_exists(fs::remove_file(started.dir.container_id_file()))
                .map_err(HostError::io("remove the file of a container's ID"))?;
        }
    }

    /// Starts what makes a snapshot of the VM, if one is to be made.
    fn keep_snapshot(&self, started: &Started) -> Result<(), HostError> {
        match &started.snapshot {
            Some(entry) if self.spec.snapshot == Some(Snapshot::Save) => {
                start_keeper(&self.exe, entry, &started.dir)
                    .map_err(HostError::io("start what keeps the snapshot"))
            }
            _ => Ok(()),
        }
    }

    /// The command line that [`Launch::start`] would run, with `VM_DIR` for the directory that
    /// does not exist yet.
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
            exe: &self.exe,
            runner: self.runner.as_ref().map(|runner| runner.id.as_str()),
            hooks_dir,
            remove: self.remove,
            interactive: self.interactive,
            tty: self.tty,
            debug: false,
            snapshot: self.snapshot.as_ref().map(|held| held.entry().path()),
            labels: &self.labels,
            network: self.network.as_deref(),
            publish: &self.publish,
            kvm,
            keep_groups: kvm && kvm_needs_groups(),
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
        let executes = match self.spec.purpose() {
            Purpose::Execute => true,
            Purpose::Login | Purpose::Boot => false,
        };
        if self.spec.lifetime == Lifetime::Cli && executes {
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

    /// Turns what `podman run` said into what it means for the user.
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

impl Started {
    /// Name of the VM.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connects the terminal with the VM's console.
    pub fn attach(&self) -> Result<Child, HostError> {
        let id = self.dir.container_id().unwrap_or_default();
        self.podman
            .attach(&id)
            .map_err(HostError::io("run podman attach"))
    }

    /// What the guest says.
    #[must_use]
    pub fn log(&self, stream: Stream) -> GuestLog {
        match stream {
            Stream::Console => GuestLog::console(&self.dir),
            Stream::Journal => GuestLog::journal(&self.dir),
        }
    }

    /// Asks the supervisor to shut the guest down, without waiting for it.
    pub fn ask_to_stop(&self) -> Result<(), HostError> {
        self.kill("TERM")
    }

    /// Ends the VM at once; the container stays if it is to be kept.
    pub fn end(&self) -> Result<(), HostError> {
        self.kill("KILL")
    }

    fn kill(&self, signal: &str) -> Result<(), HostError> {
        match self.dir.container_id() {
            Some(id) => self.podman.kill(&id, signal),
            None => Ok(()),
        }
    }

    /// Ends the VM at once and leaves nothing of it.
    pub fn discard(&mut self) -> Result<(), HostError> {
        let removed = self.remove_container();
        if !self.ran() {
            self.made.undo();
        }
        self.drop_unusable_snapshot();
        self.hold = None;
        self.cli_lock = None;
        self.dir
            .remove_if_unused()
            .map_err(HostError::io("remove the VM directory"))?;
        removed
    }

    /// Removes the VM's snapshot, which was of no use, unless somebody else is at it.
    pub fn drop_snapshot(&self) {
        if let Some(entry) = &self.snapshot {
            // What stays is pruned with what is old.
            let _ = entry.remove_if_unused();
        }
    }

    /// One that was not finished, or that the VM could not be resumed from.
    fn drop_unusable_snapshot(&self) {
        let Some(entry) = &self.snapshot else { return };
        let cold = || self.status().is_some_and(|status| status.cold.is_some());
        if entry.check().is_err() || cold() {
            self.drop_snapshot();
        }
    }

    fn remove_container(&self) -> Result<(), HostError> {
        match self.dir.container_id() {
            Some(id) => self.podman.remove(&id),
            None => Ok(()),
        }
    }

    /// Whether there ever was a guest that could have used what was made for it.
    fn ran(&self) -> bool {
        self.status()
            .is_some_and(|status| status.began(Phase::Qemu).is_some())
    }

    /// What the supervisor said last.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.dir.shared().status().ok().flatten()
    }

    /// Leaves a VM that ended by itself as podman would leave a container: removed with `--rm`,
    /// kept without.
    pub fn finish(mut self) -> Result<(), HostError> {
        if self.remove { self.discard() } else { Ok(()) }
    }
}

/// Makes the root that QEMU gets. Programs and libraries of the host are mounted into it; the rest is
/// what leads there, and where the supervisor puts the container's resolver.
fn make_qemu_root(root: &Path) -> io::Result<()> {
    // QEMU runs as another user, whatever the umask.
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

/// The OCI hook that removes a VM directory once podman has removed the container of a `--rm` VM:
/// nobody else is there to do it when `podman stop` ends a detached VM.
/// Format: `oci-hooks(5)`; `poststop` is the OCI runtime specification's.
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

/// Removes VM directories whose container is gone: what a plain `podman rm -f`, a power cut or a
/// killed CLI leaves. Costs one `podman ps`, and only when there is a candidate.
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
