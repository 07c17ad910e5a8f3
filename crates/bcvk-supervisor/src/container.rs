//! The container as the supervisor sets it up: a root without a byte of the image, and one for QEMU.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

use bcvk_contract::bounded;
use bcvk_contract::missing::if_exists;
use bcvk_contract::procfs;
use bcvk_contract::spec::{CONTAINER_QEMU_ROOT, QEMU_BOOT_DIR};
use rustix::fs::{
    AtFlags, CWD, MemfdFlags, Mode, OFlags, StatxAttributes, StatxFlags, memfd_create, openat,
    statx,
};
use rustix::process::chroot;

use crate::user::QemuUser;

/// Limit for the size of a resolver's configuration (resolv.conf(5) uses a few lines).
const MAX_RESOLVER_BYTES: u64 = 64 * 1024;

/// A VM's container.
#[derive(Debug)]
pub(super) struct Container {
    /// Root that QEMU changes to; `None` if that is the supervisor's own.
    qemu_root: Option<OwnedFd>,
    /// User that QEMU becomes; `None` if that is the supervisor's own.
    pub(super) qemu_user: Option<QemuUser>,
    boot: Option<BootDir>,
}

/// A directory in memory for files that QEMU opens.
#[derive(Debug)]
struct BootDir {
    /// Path in the supervisor's root.
    here: PathBuf,
    /// Path in QEMU's root.
    there: PathBuf,
}

/// A file that QEMU opens.
#[derive(Debug)]
pub(super) struct BootFile {
    pub(super) file: OwnedFd,
    /// Path at which QEMU opens the file.
    pub(super) path: PathBuf,
    /// True if that path leads through a descriptor which QEMU inherits.
    inherited: bool,
}

impl Container {
    /// Leaves the image's root for the directory `root`. QEMU's root is in there, unless the
    /// container is one of a `runner`: then QEMU's root is the one that is left here.
    ///
    /// # Errors
    /// If the container was not made for that.
    pub(super) fn enter(root: &Path, runner: bool) -> io::Result<Self> {
        procfs::keep()?;
        let qemu_user = QemuUser::choose(root)?;
        let resolver = runtime_file(Path::new("/etc/resolv.conf"))?;
        let outside = open_directory(Path::new("/"))?;
        chroot(root)?;
        rustix::process::chdir("/")?;
        let inside = Path::new(CONTAINER_QEMU_ROOT);
        let here = inside.join(relative(QEMU_BOOT_DIR));
        let (qemu_root, there) = if runner {
            (
                outside,
                root.join(relative(CONTAINER_QEMU_ROOT))
                    .join(relative(QEMU_BOOT_DIR)),
            )
        } else {
            (open_directory(inside)?, PathBuf::from(QEMU_BOOT_DIR))
        };
        if let Some(text) = resolver {
            let path = here.join("resolv.conf");
            fs::write(&path, text)?;
            fs::set_permissions(path, Permissions::from_mode(0o644))?;
        }
        Ok(Self {
            qemu_root: Some(qemu_root),
            qemu_user,
            boot: Some(BootDir { here, there }),
        })
    }

    /// Returns the container of a Pod, whose root is a runner's and stays.
    pub(super) fn of_a_pod() -> Self {
        Self {
            qemu_root: None,
            qemu_user: None,
            boot: None,
        }
    }

    /// Makes the supervisor's root one that a shell can work in, by links: QEMU's programs and
    /// libraries are a directory further down.
    ///
    /// # Errors
    /// If a link cannot be made.
    pub(super) fn furnish() -> io::Result<()> {
        for name in ["usr", "bin", "sbin", "lib", "lib64", "etc"] {
            let target = Path::new(relative(CONTAINER_QEMU_ROOT)).join(name);
            match symlink(target, Path::new("/").join(name)) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        Ok(())
    }

    /// Returns the root that QEMU changes to.
    pub(super) fn qemu_root(&self) -> Option<BorrowedFd<'_>> {
        self.qemu_root.as_ref().map(AsFd::as_fd)
    }

    /// Returns the directory, in QEMU's root, of the files that QEMU opens.
    pub(super) fn boot_dir(&self) -> Option<&Path> {
        self.boot.as_ref().map(|dir| dir.there.as_path())
    }

    /// Makes the file `name` in memory, with the content of `parts`, for QEMU to open.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(super) fn boot_file(&self, name: &str, parts: &[&[u8]]) -> io::Result<BootFile> {
        let mut file = match &self.boot {
            None => File::from(memfd_create(name, MemfdFlags::CLOEXEC)?),
            Some(dir) => {
                let path = dir.here.join(name);
                // An attempt to resume may have left this file behind.
                if_exists(fs::remove_file(&path))?;
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)?
            }
        };
        if let Some(user) = self.qemu_user {
            // The group stays root's: a QEMU that stays root has no capability either, and opens the
            // file as a member of that.
            fchown(&file, Some(user.uid), None)?;
            file.set_permissions(Permissions::from_mode(0o660))?;
        }
        for part in parts {
            file.write_all(part)?;
        }
        file.rewind()?;
        let file = OwnedFd::from(file);
        let path = match &self.boot {
            None => PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())),
            Some(dir) => dir.there.join(name),
        };
        Ok(BootFile {
            file,
            path,
            inherited: self.boot.is_none(),
        })
    }
}

impl BootFile {
    /// Returns the content of the file.
    ///
    /// # Errors
    /// The errors of read(2).
    pub(super) fn content(&self) -> io::Result<Vec<u8>> {
        let mut file = File::from(self.file.try_clone()?);
        let mut content = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut content)?;
        Ok(content)
    }

    /// Returns the descriptor that QEMU has to inherit, if it opens the file through one.
    pub(super) fn inherited(&self) -> Option<BorrowedFd<'_>> {
        self.inherited.then(|| self.file.as_fd())
    }
}

/// Reads `path` if the container's runtime has mounted it there. Any other file in its place is the
/// image's, and of no interest. A mount point is known by its attribute (statx(2)).
fn runtime_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let Ok(found) = openat(CWD, path, flags, Mode::empty()) else {
        return Ok(None);
    };
    let about = statx(&found, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    let is_file = rustix::fs::FileType::from_raw_mode(about.stx_mode.into())
        == rustix::fs::FileType::RegularFile;
    if !is_file || !about.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(None);
    }
    let file = procfs::reopen(&found, OFlags::RDONLY | OFlags::NONBLOCK)?;
    bounded::read(File::from(file), MAX_RESOLVER_BYTES)
}

/// Opens a directory that can be a child's standard input; its path alone cannot.
fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}
