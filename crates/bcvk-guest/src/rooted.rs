//! An image's tree, looked at from outside of it.
//!
//! Images are full of absolute symlinks (`/lib64 → /usr/lib64`, `vmlinuz → /boot/…`) that mean the
//! image's own root, and nothing stops one from pointing at the host. Every path here is resolved
//! by the kernel with the image's root as `/` (`openat2(2)`, `RESOLVE_IN_ROOT`; Linux ≥ 5.6).

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use bcvk_contract::bounded;
use bcvk_contract::procfs;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

pub use bcvk_contract::missing::if_exists;

/// Number of times a lookup is begun again when the kernel saw the tree change under a `..`
/// (`EAGAIN` in openat2(2)).
const ATTEMPTS: u32 = 32;

/// Longest symlink: `PATH_MAX` of `linux/limits.h`.
const PATH_MAX: usize = 4096;

/// Size of the largest text file that is read. The longest in a distribution, the list of a
/// kernel's modules, has about 1 MiB.
pub const MAX_TEXT: u64 = 16 << 20;

/// A directory that is the `/` of every path looked up through it.
///
/// Paths may be given with or without a leading `/`. Symlinks are followed, inside the tree only.
/// Errors name the path as seen in the tree. A path that leads nowhere, be it through a missing
/// directory, through a file, or round in circles, is [`io::ErrorKind::NotFound`].
#[derive(Debug)]
pub struct Rooted {
    root: OwnedFd,
}

/// An entry of a directory of the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Name of the entry in the directory.
    pub name: OsString,
    /// Kind of the entry; symlinks are not followed.
    pub kind: EntryKind,
}

/// Kind of an entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symlink, to whatever.
    Symlink,
    /// A device, socket or FIFO.
    Other,
}

impl Rooted {
    /// Opens the tree whose root is the directory `root`.
    ///
    /// # Errors
    /// If it cannot be opened as a directory.
    pub fn new(root: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, root, flags, Mode::empty())
            .map_err(|errno| named(errno, root))?;
        Ok(Self { root })
    }

    /// Opens a file for reading. Never waits, not even for the writer of a FIFO.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        self.lookup(path.as_ref(), flags).map(File::from)
    }

    /// Reads a whole file of at most `most` bytes.
    ///
    /// # Errors
    /// As openat2(2) and read(2); [`io::ErrorKind::FileTooLarge`].
    pub fn read(&self, path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
        let path = path.as_ref();
        bounded::read(self.open(path)?, most)
            .map_err(|e| with_path(&e, path))?
            .ok_or_else(|| with_path(&io::ErrorKind::FileTooLarge.into(), path))
    }

    /// Reads a whole text file of at most [`MAX_TEXT`] bytes; those that are not UTF-8 become
    /// U+FFFD.
    ///
    /// # Errors
    /// As [`Rooted::read`].
    pub fn read_text(&self, path: impl AsRef<Path>) -> io::Result<String> {
        self.read(path, MAX_TEXT)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the metadata of `path`, symlinks followed.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        let path = path.as_ref();
        let file = File::from(self.lookup(path, OFlags::PATH)?);
        file.metadata().map_err(|e| with_path(&e, path))
    }

    /// Returns the metadata of `path`; a symlink at its end is not followed.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        let path = path.as_ref();
        let file = File::from(self.lookup(path, OFlags::PATH | OFlags::NOFOLLOW)?);
        file.metadata().map_err(|e| with_path(&e, path))
    }

    /// Returns where the symlink `path` points, as it is written in it.
    ///
    /// # Errors
    /// As openat2(2); [`io::ErrorKind::InvalidInput`] if it is not a symlink.
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let path = path.as_ref();
        let link = self.lookup(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        let target = rustix::fs::readlinkat(&link, "", Vec::with_capacity(PATH_MAX)).map_err(
            // The kernel reports this for an empty path below something else.
            |errno| match errno {
                Errno::NOENT => named(Errno::INVAL, path),
                errno => named(errno, path),
            },
        )?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// Returns the entries of a directory without `.` and `..`, sorted by name.
    ///
    /// # Errors
    /// As openat2(2) and getdents64(2).
    pub fn read_dir(&self, path: impl AsRef<Path>) -> io::Result<Vec<Entry>> {
        let path = path.as_ref();
        let dir = self.open_dir(path)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&dir).map_err(|errno| named(errno, path))? {
            let entry = entry.map_err(|errno| named(errno, path))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say the kind; then the inode has to.
                FileType::Unknown => {
                    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                    let stat = rustix::fs::statat(&dir, entry.file_name(), flags)
                        .map_err(|errno| named(errno, path))?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            entries.push(Entry {
                name: OsStr::from_bytes(name).to_owned(),
                kind: match kind {
                    FileType::RegularFile => EntryKind::File,
                    FileType::Directory => EntryKind::Directory,
                    FileType::Symlink => EntryKind::Symlink,
                    _ => EntryKind::Other,
                },
            });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    /// Makes the directory `path` and those on the way to it (mode 0755), where they are missing.
    ///
    /// # Errors
    /// As openat2(2) and mkdirat(2).
    pub fn create_dir_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut made = PathBuf::from("/");
        for name in path.as_ref().components() {
            let Component::Normal(name) = name else {
                continue;
            };
            let parent = self.open_dir(&made)?;
            made.push(name);
            match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(named(errno, &made)),
            }
        }
        // The existing entry may be something else, or lead nowhere.
        self.open_dir(&made).map(drop)
    }

    /// Replaces every symlink on the way of `path` by what it leads to, as far as the path exists;
    /// the rest is left as it is.
    ///
    /// # Errors
    /// As openat2(2) and readlink(2); [`io::ErrorKind::NotFound`] if the rest goes back up, which it cannot
    /// do from what is not there.
    pub fn resolve(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let path = path.as_ref();
        for existing in path.ancestors() {
            let Some(fd) = if_exists(self.lookup(existing, OFlags::PATH))? else {
                continue;
            };
            let root = seen_from_outside(&self.root)?;
            let found = seen_from_outside(&fd)?;
            let inside = found.strip_prefix(&root).map_err(io::Error::other)?;
            let rest = path.strip_prefix(existing).map_err(io::Error::other)?;
            if rest.components().any(|part| part == Component::ParentDir) {
                return Err(named(Errno::NOENT, path));
            }
            return Ok(Path::new("/")
                .join(inside)
                .join(rest)
                .components()
                .collect());
        }
        Ok(path.to_owned())
    }

    /// Returns where `path` leads, which need not exist: a link at its end is followed all the same, and
    /// what it leads to may be made later.
    ///
    /// # Errors
    /// As [`Rooted::resolve`]; [`io::ErrorKind::NotFound`] if the links go in circles.
    pub fn destination(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        /// Number of symlinks that the kernel would follow (path_resolution(7)).
        const LINKS: u32 = 40;

        let mut path = path.as_ref().to_owned();
        for _ in 0..LINKS {
            let found = if_exists(self.symlink_metadata(&path))?;
            if !found.is_some_and(|found| found.is_symlink()) {
                return self.resolve(&path);
            }
            let target = self.read_link(&path)?;
            path.pop();
            path.push(target);
        }
        Err(named(Errno::LOOP, &path))
    }

    fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        self.lookup(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn lookup(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        // To openat2 an empty path is none, not the root.
        let given = if path.as_os_str().is_empty() {
            Path::new("/")
        } else {
            path
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut attempt = 0;
        loop {
            let flags = flags | OFlags::CLOEXEC;
            match rustix::fs::openat2(self.root.as_fd(), given, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) if attempt < ATTEMPTS => attempt += 1,
                result => return result.map_err(|errno| named(errno, given)),
            }
        }
    }
}

/// Returns the path of an open descriptor (`proc_pid_fd(5)`).
fn seen_from_outside(fd: &OwnedFd) -> io::Result<PathBuf> {
    procfs::path_of(fd)
}

/// Makes an error with the path it happened at.
fn named(errno: Errno, path: &Path) -> io::Error {
    let kind = match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => io::ErrorKind::NotFound,
        errno => errno.kind(),
    };
    let reason = io::Error::from(errno);
    io::Error::new(kind, format!("{}: {reason}", path.display()))
}

fn with_path(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn directories_are_made_inside_the_tree_only() {
        let (dir, root) = tree();
        symlink("/..", dir.path().join("root/up")).expect("a symlink");
        for path in ["/srv/data/x", "/srv/data/x", "up/made"] {
            root.create_dir_all(path).expect(path);
        }
        assert!(dir.path().join("root/srv/data/x").is_dir());
        assert!(dir.path().join("root/made").is_dir());
        assert!(!dir.path().join("made").exists());
        assert!(root.create_dir_all("/usr/lib/os-release/x").is_err());
    }

    #[test]
    fn paths_are_resolved_as_far_as_they_exist() {
        let (_dir, root) = tree();
        for (path, resolved) in [
            ("/usr/lib/modules", "/usr/lib/modules"),
            ("/lib/modules/new/x", "/usr/lib/modules/new/x"),
            ("/nothing/here", "/nothing/here"),
            ("/", "/"),
        ] {
            assert_eq!(root.resolve(path).expect(path), Path::new(resolved));
        }
    }

    #[test]
    fn links_are_followed_to_what_is_not_there_yet() {
        let (dir, root) = tree();
        for (link, target) in [
            ("opt", "var/opt"),
            ("usr/storage", "../sysroot/storage"),
            ("twice", "/opt"),
            ("to-lib", "lib"),
        ] {
            symlink(target, dir.path().join("root").join(link)).expect("a symlink");
        }
        for (path, destination) in [
            ("/opt", "/var/opt"),
            ("/usr/storage", "/sysroot/storage"),
            ("/twice", "/var/opt"),
            ("/to-lib", "/usr/lib"),
            ("/nothing/here", "/nothing/here"),
        ] {
            let found = root.destination(path).expect(path);
            assert_eq!(found, Path::new(destination));
        }
        for nowhere in ["/loop", "/nothing/../here", "/usr/storage/../../etc"] {
            let error = root.destination(nowhere).expect_err(nowhere);
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{nowhere}");
        }
    }

    fn tree() -> (tempfile::TempDir, Rooted) {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr/lib/modules")).expect("directories");
        fs::write(dir.path().join("secret"), "outside").expect("a file");
        fs::write(root.join("usr/lib/os-release"), "inside").expect("a file");
        symlink("/usr/lib", root.join("lib")).expect("a symlink");
        symlink("/secret", root.join("absolute")).expect("a symlink");
        symlink("../../secret", root.join("usr/climbing")).expect("a symlink");
        symlink("loop", root.join("loop")).expect("a symlink");
        let rooted = Rooted::new(&root).expect("the root");
        (dir, rooted)
    }

    fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
        result.expect_err("an error").kind()
    }

    #[test]
    fn symlinks_mean_the_trees_own_root() {
        let (_dir, root) = tree();
        for path in [
            "usr/lib/os-release",
            "/usr/lib/os-release",
            "/lib/os-release",
            "/../../lib/os-release",
        ] {
            assert_eq!(root.read_text(path).expect("a file"), "inside", "{path}");
        }
        for path in ["/absolute", "/usr/climbing", "/secret", "../secret"] {
            assert_eq!(kind(root.open(path)), io::ErrorKind::NotFound, "{path}");
        }
        assert_eq!(
            root.read_link("/absolute").expect("a link"),
            Path::new("/secret")
        );
        assert!(
            root.symlink_metadata("/absolute")
                .expect("a link")
                .is_symlink()
        );
        assert!(root.metadata("/lib").expect("a directory").is_dir());
        assert!(root.metadata("").expect("the root").is_dir());
    }

    #[test]
    fn what_leads_nowhere_is_not_found() {
        let (_dir, root) = tree();
        for path in ["/none", "/none/x", "/usr/lib/os-release/x", "/loop"] {
            assert_eq!(kind(root.open(path)), io::ErrorKind::NotFound, "{path}");
            assert!(if_exists(root.open(path)).expect("no error").is_none());
        }
        assert_eq!(kind(root.read_link("/usr")), io::ErrorKind::InvalidInput);
        assert_eq!(kind(root.read("/usr", 1)), io::ErrorKind::IsADirectory);
        let said = root.open("/none").expect_err("an error").to_string();
        assert_eq!(said, "/none: No such file or directory (os error 2)");
    }

    #[test]
    fn no_more_is_read_than_was_asked_for() {
        let (_dir, root) = tree();
        let path = "/usr/lib/os-release";
        assert_eq!(root.read(path, 6).expect("a file"), b"inside");
        assert_eq!(kind(root.read(path, 5)), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn entries_are_sorted() {
        let (_dir, root) = tree();
        let entries = root.read_dir("/").expect("a directory");
        let shown: Vec<_> = entries
            .iter()
            .map(|e| (e.name.to_str().unwrap_or_default(), e.kind))
            .collect();
        assert_eq!(
            shown,
            [
                ("absolute", EntryKind::Symlink),
                ("lib", EntryKind::Symlink),
                ("loop", EntryKind::Symlink),
                ("usr", EntryKind::Directory),
            ]
        );
    }
}
