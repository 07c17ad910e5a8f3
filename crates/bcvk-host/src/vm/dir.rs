//! The VM directory, in which the host keeps everything of one VM.
//!
//! No container sees the directory as a whole. The files that the container reads are mounted one by
//! one and read-only (`spec.json`, `ignition.json`, `user-data`, `cli.lock`, `root`). The container writes to one
//! directory in it, which the host reads as a stranger's ([`SharedDir`]).
//!
//! Locks (`flock(2)`) show who is alive, because the kernel drops a lock however its holder ends:
//!
//! | file | held by | says |
//! |---|---|---|
//! | `lock` | shared: every bcvk process that needs the directory | do not sweep |
//! | `cli.lock` | exclusive: the command that an attached VM belongs to | the VM's user is still there |
//! | `sessions.lock` | exclusive: the command that boots a VM for a session | sessions wait until the VM is ready |
//! | `shared/supervisor.lock` | exclusive: the supervisor | the VM's supervisor lives |

#![allow(
    clippy::disallowed_methods,
    reason = "opens what the host alone writes"
)]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bcvk_contract::lock::{Lock, lock_file};
use bcvk_contract::spec::{MAX_SPEC_BYTES, VmSpec};
use bcvk_contract::status::Timestamp;
use bcvk_contract::untrusted;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::vm::held_dir;
use crate::vm::shared_dir::SharedDir;

/// All VM directories of one user: `$XDG_RUNTIME_DIR/bcvk/vms`, or `/run/bcvk/vms` for root.
#[derive(Debug, Clone)]
pub struct VmDirs {
    root: PathBuf,
}

/// One VM's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmDir {
    path: PathBuf,
}

impl VmDirs {
    /// Opens the directory of the calling user. `runtime_dir` is the value of `XDG_RUNTIME_DIR`.
    ///
    /// Without `runtime_dir`, users other than root get `/run/user/UID` if that is theirs, else
    /// `/tmp/bcvk-UID`, as with podman; the latter is refused if somebody else made it.
    pub fn open(runtime_dir: Option<&Path>) -> io::Result<Self> {
        let uid = rustix::process::geteuid().as_raw();
        let (base, ours) = base(runtime_dir, uid);
        if ours {
            private_dir(&base, uid)?;
        }
        let root = private_dir(&base.join("bcvk"), uid)?.join("vms");
        Ok(Self {
            root: private_dir(&root, uid)?,
        })
    }

    /// Returns the same directory if it exists. Nothing is made.
    #[must_use]
    pub fn existing(runtime_dir: Option<&Path>) -> Option<Self> {
        let uid = rustix::process::geteuid().as_raw();
        let (base, ours) = base(runtime_dir, uid);
        existing_below(&base, ours, uid)
    }

    /// Returns the path of the directory that has all of them.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Makes a new directory with a fresh random id, and keeps it from being swept.
    pub fn create(&self) -> io::Result<(VmDir, Lock)> {
        let (path, held) = held_dir::create_held(&self.root, "")?;
        Ok((VmDir { path }, held))
    }

    /// Returns every VM directory there is.
    pub fn list(&self) -> io::Result<Vec<VmDir>> {
        let mut dirs: Vec<VmDir> = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(VmDir { path: entry.path() });
            }
        }
        dirs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(dirs)
    }

    /// Returns the directory with this id, as the container's label names it.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<VmDir> {
        let plain = id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let path = self.root.join(id);
        (plain && path.is_dir()).then_some(VmDir { path })
    }

    /// Returns the directory `id`, if its VM runs in the container with the full ID `container`.
    #[must_use]
    pub fn of(&self, id: &str, container: &str) -> Option<VmDir> {
        let dir = self.by_id(id)?;
        (dir.container_id()? == container).then_some(dir)
    }

    /// Returns the directories that no process uses: candidates for [`VmDir::remove_if_unused`] once
    /// podman has confirmed that their containers are gone.
    pub fn unused(&self) -> io::Result<Vec<VmDir>> {
        Ok(self
            .list()?
            .into_iter()
            .filter(|dir| !dir.shared().supervisor_lives())
            .filter(|dir| matches!(held_dir::try_take(&dir.path), Ok(Some(_))))
            .collect())
    }
}

impl VmDir {
    /// Returns the directory at `path`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the random id: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        self.path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default()
    }

    /// Returns the path of the user's private SSH key.
    #[must_use]
    pub fn ssh_key(&self) -> PathBuf {
        self.path.join("ssh_key")
    }

    /// Returns the path of the client configuration that [`crate::ssh`] writes.
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        self.path.join("ssh_config")
    }

    /// Returns the directory that the container writes to.
    #[must_use]
    pub fn shared(&self) -> SharedDir {
        SharedDir::at(self.path.join("shared"))
    }

    /// Returns the root that QEMU gets, without the programs of the host that are mounted there.
    #[must_use]
    pub(crate) fn qemu_root(&self) -> PathBuf {
        self.path.join("root")
    }

    /// Returns the path of the description that the supervisor obeys.
    #[must_use]
    pub(crate) fn spec(&self) -> PathBuf {
        self.path.join("spec.json")
    }

    /// Returns the path of the lock of the command that an attached VM belongs to.
    #[must_use]
    pub(crate) fn cli_lock(&self) -> PathBuf {
        self.path.join("cli.lock")
    }

    /// Returns the path of the lock of a command that boots a VM for a session.
    fn sessions_lock(&self) -> PathBuf {
        self.path.join("sessions.lock")
    }

    /// Returns the path of the configuration for Ignition.
    #[must_use]
    pub fn ignition_config(&self) -> PathBuf {
        self.path.join("ignition.json")
    }

    /// Returns the path of the user data for cloud-init.
    #[must_use]
    pub(crate) fn user_data(&self) -> PathBuf {
        self.path.join("user-data")
    }

    /// Returns the path of the file to which podman writes the process ID of the container's first
    /// process (`--pidfile`).
    #[must_use]
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.path.join("pid")
    }

    /// Returns the path of the file to which podman writes the container's ID (`--cidfile`).
    #[must_use]
    pub fn container_id_file(&self) -> PathBuf {
        self.path.join("container-id")
    }

    /// Returns the container's ID, once podman has made the container.
    #[must_use]
    pub fn container_id(&self) -> Option<String> {
        let id = fs::read_to_string(self.container_id_file()).ok()?;
        let id = id.trim();
        (!id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
    }

    /// Returns a descriptor of the container's first process, once podman has started that
    /// (`--pidfile`); `None` if the process has ended already.
    pub fn container_process(&self) -> io::Result<Option<OwnedFd>> {
        let pid = fs::read_to_string(self.pid_file())?;
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes the spec that the supervisor obeys.
    pub fn write_spec(&self, spec: &VmSpec) -> io::Result<()> {
        self.write_private("spec.json", &serde_json::to_vec_pretty(spec)?)
    }

    /// Reads the spec back.
    pub fn read_spec(&self) -> io::Result<VmSpec> {
        let text = untrusted::read(&self.spec(), MAX_SPEC_BYTES)?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Returns the time at which the spec was written, just before podman is asked for a container.
    pub fn planned(&self) -> io::Result<Timestamp> {
        let spec = fs::symlink_metadata(self.spec())?;
        Ok(spec.modified()?.into())
    }

    /// Writes a file that only its owner reads (mode 0600).
    pub fn write_private(&self, name: &str, content: &[u8]) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path.join(name))?
            .write_all(content)
    }

    /// Keeps the directory from being swept.
    pub fn hold(&self) -> io::Result<Lock> {
        held_dir::hold(&self.path)
    }

    /// Takes `cli.lock`: from now on an attached VM lives as long as this process.
    pub fn lock_as_cli(&self) -> io::Result<Lock> {
        Lock::exclusive(lock_file(&self.cli_lock())?)
    }

    /// Takes `sessions.lock`: from now on sessions get no further than to keys, until the lock is dropped.
    ///
    /// # Errors
    /// If the file cannot be made, or somebody has the lock.
    pub fn lock_sessions(&self) -> io::Result<Lock> {
        Lock::exclusive(lock_file(&self.sessions_lock())?)
    }

    /// Opens `sessions.lock`, if a command has made it.
    pub(crate) fn sessions_lock_file(&self) -> Option<File> {
        File::open(self.sessions_lock()).ok()
    }

    /// Removes the directory unless a process uses it; returns true if the directory is gone. The
    /// command that ends a VM, podman's hook and any process that sweeps may do so at the same time.
    pub fn remove_if_unused(&self) -> io::Result<bool> {
        if self.shared().supervisor_lives() {
            return Ok(false);
        }
        held_dir::remove_unless_held(&self.path)
    }
}

/// Returns the directory of a user's runtime files, and true if bcvk has to make that directory
/// itself.
fn base(runtime_dir: Option<&Path>, uid: u32) -> (PathBuf, bool) {
    if uid == 0 {
        return (PathBuf::from("/run"), false);
    }
    if let Some(dir) = runtime_dir.filter(|d| d.is_absolute()) {
        return (dir.to_owned(), false);
    }
    let user = PathBuf::from(format!("/run/user/{uid}"));
    if fs::metadata(&user).is_ok_and(|m| m.uid() == uid) {
        return (user, false);
    }
    (PathBuf::from(format!("/tmp/bcvk-{uid}")), true)
}

/// Finds the directories of the user `uid` below `base`, which has to be that user's too if it is
/// `ours`.
fn existing_below(base: &Path, ours: bool, uid: u32) -> Option<VmDirs> {
    let parent = base.join("bcvk");
    let root = parent.join("vms");
    let safe = |path: &Path| {
        fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir() && meta.uid() == uid)
    };
    ((!ours || safe(base)) && safe(&parent) && safe(&root)).then_some(VmDirs { root })
}

/// Makes `path` with mode 0700, or checks that it is a directory of ours.
fn private_dir(path: &Path, uid: u32) -> io::Result<PathBuf> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(path)?;
            if !meta.is_dir() || meta.uid() != uid {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!("{} belongs to somebody else", path.display()),
                ));
            }
        }
        Err(e) => return Err(e),
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs() -> (tempfile::TempDir, VmDirs) {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let root = tmp.path().to_owned();
        (tmp, VmDirs { root })
    }

    #[test]
    fn a_held_directory_is_not_swept_and_a_free_one_is() {
        let (_tmp, dirs) = dirs();
        let (dir, first) = dirs.create().expect("create");
        let second = dir.hold().expect("two may hold it");
        assert!(!dir.remove_if_unused().expect("held"));
        drop(first);
        assert!(dirs.unused().expect("unused").is_empty());
        drop(second);
        assert_eq!(dirs.unused().expect("unused"), std::slice::from_ref(&dir));
        assert!(dir.remove_if_unused().expect("free"));
        assert!(!dir.path().exists());
    }

    #[test]
    fn many_may_remove_a_directory_at_once() {
        let (_tmp, dirs) = dirs();
        for _ in 0..300 {
            let (dir, held) = dirs.create().expect("create");
            drop(held);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| dir.remove_if_unused().expect("no error"));
                }
            });
            assert!(!dir.path().exists());
        }
    }

    #[test]
    fn a_directory_whose_supervisor_lives_is_in_use() {
        let (_tmp, dirs) = dirs();
        let (dir, held) = dirs.create().expect("create");
        drop(held);
        let shared = dir.shared();
        assert!(!shared.supervisor_lives());
        fs::create_dir(shared.paths().dir()).expect("made");
        let lock = Lock::exclusive(lock_file(&shared.paths().supervisor_lock()).expect("made"));
        assert!(shared.supervisor_lives());
        assert!(dirs.unused().expect("unused").is_empty());
        assert!(!dir.remove_if_unused().expect("looked at"));
        drop(lock);
        assert!(!shared.supervisor_lives());
        assert!(dir.remove_if_unused().expect("removed"));
    }

    #[test]
    fn looking_for_a_supervisor_does_not_look_like_one() {
        let (_tmp, dirs) = dirs();
        let (dir, _held) = dirs.create().expect("create");
        let shared = dir.shared();
        fs::create_dir(shared.paths().dir()).expect("made");
        drop(lock_file(&shared.paths().supervisor_lock()).expect("made"));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!((0..5000).all(|_| !shared.supervisor_lives())));
            }
        });
    }

    #[test]
    fn ids_from_labels_cannot_leave_the_directory() {
        let (_tmp, dirs) = dirs();
        let (dir, _held) = dirs.create().expect("create");
        assert_eq!(dirs.by_id(dir.id()), Some(dir));
        assert_eq!(dirs.by_id("../../../../../"), None);
        assert_eq!(dirs.by_id("../.."), None);
    }

    #[test]
    fn a_directory_of_another_user_is_not_used() {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let uid = rustix::process::geteuid().as_raw();
        let path = private_dir(&tmp.path().join("bcvk"), uid).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o700);
        private_dir(&path, uid).expect("of this user");
        // The directory is another user's for whoever is not its owner.
        let error = private_dir(&path, uid + 1).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let link = tmp.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        private_dir(&link, uid).expect_err("a link leads anywhere");
        // Only root can give a directory away.
        if uid == 0 {
            let vms = path.join("vms");
            fs::create_dir(&vms).expect("made");
            assert!(existing_below(tmp.path(), false, uid).is_some());
            for given in [&vms, &path] {
                std::os::unix::fs::chown(given, Some(65_534), None).expect("given away");
                assert!(existing_below(tmp.path(), false, uid).is_none());
                std::os::unix::fs::chown(given, Some(uid), None).expect("taken back");
            }
        }
    }

    #[test]
    fn private_files_are_private() {
        let (_tmp, dirs) = dirs();
        let (dir, _held) = dirs.create().expect("create");
        dir.write_private("ssh_key", b"secret").expect("write");
        let mode = |p: &Path| fs::metadata(p).expect("metadata").mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.ssh_key()), 0o600);
    }
}
