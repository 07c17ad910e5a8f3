//! A test's own corner of the machine.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::cmd::Cmd;
use crate::drive::vms::vm_dirs;
use crate::rootless::RootlessUser;
use crate::skip;
use crate::wait;
use crate::{binary, images, limit};

const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An environment without the caller's configuration, and names that no other test uses.
///
/// When it is finished, it checks that nothing of the test is left, and removes what is.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
    prefix: String,
    bcvk: PathBuf,
    rootless: Option<RootlessUser>,
    /// True if VMs resume from the snapshots of this run where they can.
    resumes: bool,
    /// True if podman has storage of the sandbox's own.
    pub(crate) apart: bool,
    pub(crate) mounts_before: BTreeSet<String>,
    /// Files that others have left where tests share a directory.
    pub(crate) strays_before: BTreeSet<PathBuf>,
    /// The test has made images, which are removed with the sandbox.
    pub(crate) has_images: AtomicBool,
    pub(crate) finished: bool,
}

impl Sandbox {
    /// `user` is asked once the sandbox's directory is there.
    pub(crate) fn make(user: impl FnOnce(&Path) -> Option<RootlessUser>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("bcvk-test-{}-{number}-", process::id());
        // TMPDIR does not serve: a path of ssh's sockets must be short, and the rootless user must
        // reach it.
        let dir = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in("/tmp")
            .expect("make the sandbox");
        let mut sandbox = Self {
            rootless: user(dir.path()),
            dir,
            prefix,
            bcvk: binary::bcvk(),
            resumes: false,
            apart: false,
            mounts_before: BTreeSet::new(),
            strays_before: BTreeSet::new(),
            has_images: AtomicBool::new(false),
            finished: false,
        };
        for part in ["bin", "home", "tmp"] {
            let _ = sandbox.make_dir(part);
        }
        if let Some(user) = &sandbox.rootless
            && !user.can_read(&sandbox.bcvk)
        {
            let copy = sandbox.dir.path().join("bin/bcvk");
            fs::copy(&sandbox.bcvk, &copy).expect("copy bcvk for the rootless user");
            sandbox.bcvk = copy;
        }
        sandbox
    }

    /// Lets VMs resume from a snapshot that another test of this run has made, where their options
    /// allow it. For tests that need a clean VM and do not ask how it has come up.
    #[must_use]
    pub fn resuming(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// Makes a name that begins with the test's own prefix.
    #[must_use]
    pub fn name(&self, part: &str) -> String {
        format!("{}{part}", self.prefix)
    }

    /// Makes a new empty directory that the sandbox's user owns.
    #[must_use]
    pub fn make_dir(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir(&path).expect("make a directory");
        if let Some(user) = &self.rootless {
            user.give(&path);
        }
        path
    }

    /// Gives a file or directory to the sandbox's user.
    pub fn give(&self, path: &Path) {
        if let Some(user) = &self.rootless {
            user.give(path);
        }
    }

    /// Returns the directory of the sandbox.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the path of the binary under test.
    #[must_use]
    pub fn bcvk_path(&self) -> &Path {
        &self.bcvk
    }

    /// `bcvk ephemeral ARGS`.
    pub fn bcvk<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        self.command(&self.bcvk).arg("ephemeral").args(args)
    }

    /// `podman ARGS`.
    pub fn podman<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        self.command("podman").args(args)
    }

    /// A command of a user of the host who is neither root nor the sandbox's, without any group; `None`
    /// if the tests do not run as root, who alone can become that user.
    #[must_use]
    #[track_caller]
    pub fn stranger(&self, program: &str) -> Option<Cmd> {
        let nobody = 65_534;
        skip::is_root().then(|| self.as_caller(program).user(nobody, nobody))
    }

    /// A command of the user who runs the tests.
    pub fn as_caller(&self, program: &str) -> Cmd {
        Cmd::new(program, self.dir.path())
            .env("PATH", SYSTEM_PATH)
            .env("LC_ALL", "C.UTF-8")
    }

    /// A command of any program. `bcvk` itself is on its `PATH` only if a test puts it there.
    pub fn command(&self, program: impl Into<PathBuf>) -> Cmd {
        let mut cmd = Cmd::new(program, self.dir.path())
            .env("PATH", format!("{}:{SYSTEM_PATH}", self.bin().display()))
            .env("HOME", self.home())
            .env("TMPDIR", self.tmp())
            .env("LC_ALL", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            // Two tests run at a time, and emulated processors that wait for each other waste
            // those of the host.
            .env("BCVK_VCPUS", "1");
        for name in ["CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"] {
            if let Some(value) = env::var_os(name) {
                cmd = cmd.env(name, value);
            }
        }
        if self.resumes {
            cmd = cmd
                .env("BCVK_WARM", "auto")
                .env("XDG_CACHE_HOME", self.snapshot_cache());
        }
        if let Some(dir) = self.runtime_dir() {
            cmd = cmd.env("XDG_RUNTIME_DIR", dir);
        }
        match &self.rootless {
            Some(user) => cmd.user(user.uid, user.gid),
            None => cmd,
        }
    }

    /// Builds an image from this Containerfile, in which `BASE` is the trixie image, and returns
    /// its name. `RUN` has neither a container runtime nor a network.
    #[track_caller]
    #[must_use]
    pub fn build_image(&self, containerfile: &str) -> String {
        self.build_image_named("image", containerfile)
    }

    /// Builds an image as [`Sandbox::build_image`] does, for a test with several images.
    #[track_caller]
    #[must_use]
    pub fn build_image_named(&self, part: &str, containerfile: &str) -> String {
        let context = self.make_dir(&format!("build-context-{part}"));
        self.build_image_from(part, containerfile, &context, &[])
    }

    /// Builds an image with files of the directory `context` and more options for `podman build`.
    #[track_caller]
    #[must_use]
    pub fn build_image_from(
        &self,
        part: &str,
        containerfile: &str,
        context: &Path,
        options: &[&str],
    ) -> String {
        let file = self.dir.path().join("Containerfile");
        fs::write(&file, containerfile.replace("BASE", images::trixie())).expect("write");
        let image = format!("localhost/{}", self.name(part));
        let build = || {
            let words =
                "build --quiet --isolation=chroot --network=host --pull=never --layers=false";
            self.podman(words.split(' '))
                .args(options)
                .args(["--tag", &image, "--file"])
                .arg(&file)
                .arg(context)
                .limit(limit::BOOT)
                .run()
        };
        let mut output = build();
        // For each RUN, podman seals a copy of its own program, which a kernel that is just moving that
        // memory refuses (fcntl(2), `F_ADD_SEALS`: EBUSY).
        if output.stderr().contains("sealing memfd copy") {
            output = build();
        }
        let _ = output.expect_success();
        self.has_images.store(true, Ordering::Relaxed);
        image
    }

    /// Makes an image of the files in `root` alone, with these changes (`podman import --change`).
    #[track_caller]
    #[must_use]
    pub fn import_image(&self, part: &str, root: &Path, changes: &[&str]) -> String {
        let tar = self.make_dir(&format!("import-{part}")).join("image.tar");
        let _ = self
            .command("tar")
            .args([
                "--create",
                "--numeric-owner",
                "--owner=0",
                "--group=0",
                "--file",
            ])
            .arg(&tar)
            .arg("--directory")
            .arg(root)
            .arg(".")
            .run()
            .expect_success();
        let image = format!("localhost/{}", self.name(part));
        let mut import = self.podman(["import", "--quiet"]);
        for change in changes {
            import = import.args(["--change", change]);
        }
        let _ = import.arg(&tar).arg(&image).run().expect_success();
        self.has_images.store(true, Ordering::Relaxed);
        fs::remove_file(tar).expect("remove the archive");
        image
    }

    /// Removes an image that [`Sandbox::build_image`] has built, once no container has it any more:
    /// podman removes one with `--rm` a moment after it has stopped.
    #[track_caller]
    pub fn remove_image(&self, image: &str) {
        let filter = format!("ancestor={image}");
        wait::until("no container has the image", limit::SHUTDOWN, || {
            let list = self.podman(["ps", "--all", "--quiet", "--filter", &filter]);
            list.run().expect_success().text().is_empty()
        });
        let _ = self.podman(["rmi", image]).run().expect_success();
    }

    /// Copies an image of the tests into the storage of a sandbox that is [`apart`](Self::apart).
    #[track_caller]
    pub fn load_image(&self, image: &str) {
        let archive = self.dir.path().join("image.tar");
        let _ = self
            .as_caller("podman")
            .args(["save", "--quiet", "--output"])
            .arg(&archive)
            .arg(image)
            .limit(limit::BOOT)
            .run()
            .expect_success();
        if let Some(user) = &self.rootless {
            user.give(&archive);
        }
        let _ = self
            .podman(["load", "--quiet", "--input"])
            .arg(&archive)
            .limit(limit::BOOT)
            .run()
            .expect_success();
        fs::remove_file(archive).expect("remove the archive");
    }

    /// Ends the process by which rootless podman keeps its namespaces from its first command on. The
    /// next command sees what has been mounted meanwhile. Only for a sandbox that is [`apart`](Self::apart) and runs nothing.
    pub fn end_podman(&self) {
        if let Some(user) = self.rootless.as_ref().filter(|_| self.apart) {
            user.end_podman();
        }
    }

    /// Puts `bcvk` on the `PATH` of this sandbox's commands, for command lines as users type them.
    pub fn install_bcvk(&self) {
        std::os::unix::fs::symlink(&self.bcvk, self.bin().join("bcvk")).expect("link bcvk");
    }

    /// Returns the first directory of `PATH`.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    /// Returns `TMPDIR`, which must be empty at the end.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    /// Returns the directory that this user's VM directories are in.
    #[must_use]
    pub fn vm_dirs(&self) -> PathBuf {
        vm_dirs(self.runtime_dir())
    }

    /// Returns true if the sandbox's commands run as root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.rootless.is_none() && rustix::process::geteuid().is_root()
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the cache directory whose snapshots all tests of one user and run share.
    #[must_use]
    pub fn snapshot_cache(&self) -> PathBuf {
        match &self.rootless {
            Some(user) => user.home.join(".cache/bcvk-test"),
            None => binary::profile().join("test-cache"),
        }
    }

    /// Returns the home. Root's podman storage does not depend on `HOME`; other users' does, with
    /// the test images.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        match &self.rootless {
            Some(user) => user.home.clone(),
            None if self.is_root() => self.dir.path().join("home"),
            None => env::var_os("HOME").unwrap_or_default().into(),
        }
    }

    /// Returns `XDG_RUNTIME_DIR`, if there is one.
    #[must_use]
    pub fn runtime_dir(&self) -> Option<PathBuf> {
        match &self.rootless {
            Some(user) => Some(user.runtime_dir.clone()),
            None if self.is_root() => None,
            None => env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
        }
    }
}
