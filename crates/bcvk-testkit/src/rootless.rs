//! The user that rootless tests run as.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

/// Name of the user that `setup/host.sh --rootless-user` makes.
const NAME: &str = "bcvk-rootless";

/// A user with subordinate IDs, storage and a runtime directory, but without a login.
#[derive(Debug, Clone)]
pub(crate) struct RootlessUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: PathBuf,
    pub(crate) runtime_dir: PathBuf,
}

impl RootlessUser {
    /// Prepares the user, with the trixie image in its storage.
    pub(crate) fn prepare() -> Self {
        let user = Self::find().unwrap_or_else(|| panic!("{}", Self::missing()));
        user.make_runtime_dir();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/build.sh");
        let copied = Command::new(script)
            .args(["--for-user", NAME, "trixie"])
            .current_dir("/")
            .output()
            .expect("run images/build.sh");
        assert!(
            copied.status.success(),
            "cannot copy the image for {NAME}: {copied:?}"
        );
        user
    }

    /// Gives the user a home and a runtime directory below `dir`, and so a podman that has nothing
    /// yet and shares nothing with other tests.
    pub(crate) fn apart(dir: &Path) -> Self {
        let user = Self::find().unwrap_or_else(|| panic!("{}", Self::missing()));
        Self {
            home: dir.join("home"),
            runtime_dir: dir.join("runtime"),
            ..user
        }
    }

    fn missing() -> String {
        format!("there is no user {NAME}: `setup/host.sh --rootless-user` makes it")
    }

    fn find() -> Option<Self> {
        let passwd = fs::read_to_string("/etc/passwd").ok()?;
        let fields: Vec<&str> = passwd
            .lines()
            .map(|line| line.split(':').collect())
            .find(|fields: &Vec<&str>| fields[0] == NAME)?;
        let uid = fields.get(2)?.parse().ok()?;
        Some(Self {
            uid,
            gid: fields.get(3)?.parse().ok()?,
            home: fields.get(5)?.into(),
            runtime_dir: format!("/run/user/{uid}").into(),
        })
    }

    /// Makes the runtime directory, which a login would make.
    pub(crate) fn make_runtime_dir(&self) {
        if !self.runtime_dir.is_dir() {
            fs::create_dir_all(&self.runtime_dir).expect("make a runtime directory");
            self.give(&self.runtime_dir);
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&self.runtime_dir, private).expect("make a runtime directory private");
    }

    /// Ends the process that keeps the user's namespaces, which podman leaves on purpose.
    pub(crate) fn end_podman(&self) {
        let file = self.runtime_dir.join("libpod/tmp/pause.pid");
        let pid = fs::read_to_string(file).unwrap_or_default();
        if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
            // podman's process may not have been started.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Makes this user the owner of `path`.
    pub(crate) fn give(&self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid)).expect("give a path to the rootless user");
    }

    /// Returns true if this user may read `file`.
    pub(crate) fn can_read(&self, file: &Path) -> bool {
        use std::os::unix::process::CommandExt;

        Command::new("test")
            .arg("-r")
            .arg(file)
            .uid(self.uid)
            .gid(self.gid)
            .status()
            .is_ok_and(|status| status.success())
    }
}
