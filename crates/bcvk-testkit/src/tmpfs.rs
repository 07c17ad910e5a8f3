//! Small file systems that tests fill up.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory, mounted over a directory until it is dropped. Only root can mount it.
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts a file system with these options (`tmpfs(5)`) over `path`, which keeps its owner.
    #[track_caller]
    #[must_use]
    pub fn mount(path: &Path, options: &str) -> Self {
        let owner = fs::metadata(path).expect("a directory to mount over");
        let options = format!(
            "mode=0700,uid={},gid={},{options}",
            owner.uid(),
            owner.gid()
        );
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "bcvk-test"])
            .arg(path)
            .status()
            .expect("run mount");
        assert!(done.success(), "cannot mount over {}", path.display());
        Self {
            path: path.to_owned(),
        }
    }

    /// Fills the file system to the last byte.
    #[track_caller]
    pub fn fill(&self) {
        let mut file = File::create(self.filling()).expect("make a file");
        loop {
            match file.write(&[0; 4096]) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::StorageFull => return,
                Err(e) => panic!("cannot fill {}: {e}", self.path.display()),
            }
        }
    }

    /// Undoes [`Tmpfs::fill`].
    #[track_caller]
    pub fn drain(&self) {
        fs::remove_file(self.filling()).expect("remove the filling");
    }

    fn filling(&self) -> PathBuf {
        self.path.join("filling")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

/// Unmounts the file systems that a test that was killed has left.
pub(crate) fn unmount_below(dir: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for point in table.lines().filter_map(|line| line.split(' ').nth(4)) {
        if Path::new(point).starts_with(dir) {
            unmount(Path::new(point));
        }
    }
}

/// Unmounts lazily: files that are still open there are not what a test is about.
fn unmount(path: &Path) {
    let _ = Command::new("umount").arg("--lazy").arg(path).status();
}
