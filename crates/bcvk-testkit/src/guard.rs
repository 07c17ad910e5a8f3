//! Search for everything that a test has left behind.
//!
//! Tests run side by side, so everything is told apart by what only this test has: the prefix of
//! its VMs' names, and the path of its sandbox, which is on the `PATH` of every process it starts
//! (podman hands that on to conmon, so VMs without a name of the test's are found too).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::limit;
use crate::process::Process;
use crate::rootless::RootlessUser;
use crate::sandbox::Sandbox;
use crate::skip;
use crate::storage::{containers, images, leftover_mounts, mounts, pods};
use crate::strays::strays;
use crate::tmpfs;
use crate::wait::within;

/// A sandbox's beginning and end: nothing of a test that died is there, and nothing of this one stays.
impl Sandbox {
    /// A sandbox of the calling user.
    #[must_use]
    pub fn new() -> Self {
        Self::guarded(|_| None)
    }

    /// A sandbox of the user for rootless tests, with podman storage of its own; `None` if the
    /// tests do not run as root, who alone can become that user (they are then rootless anyway).
    #[must_use]
    #[track_caller]
    pub fn rootless() -> Option<Self> {
        skip::is_root().then(|| Self::guarded(|_| Some(RootlessUser::prepare())))
    }

    /// A sandbox of root, for tests that mount or give files away; `None` for other users.
    #[must_use]
    #[track_caller]
    pub fn root() -> Option<Self> {
        skip::is_root().then(Self::new)
    }

    /// The same, with a home, a runtime directory and podman storage that no other test sees, for
    /// what would disturb them. There are no images in it before [`Sandbox::load_image`].
    #[must_use]
    #[track_caller]
    pub fn apart() -> Option<Self> {
        if !skip::is_root() {
            return None;
        }
        let mut sandbox = Self::guarded(|dir| {
            let user = RootlessUser::apart(dir);
            fs::create_dir(&user.runtime_dir).expect("make a runtime directory");
            user.make_runtime_dir();
            user.give(&user.runtime_dir);
            Some(user)
        });
        sandbox.apart = true;
        Some(sandbox)
    }

    fn guarded(user: impl FnOnce(&Path) -> Option<RootlessUser>) -> Self {
        let mut sandbox = Self::make(user);
        clean_up_after_the_dead(&sandbox);
        sandbox.mounts_before = mounts(&sandbox);
        sandbox.strays_before = strays(&sandbox);
        sandbox
    }

    /// Fails the test if anything of it is still there after [`limit::GONE`].
    #[track_caller]
    pub fn finish(mut self) {
        self.finished = true;
        let left = await_nothing_left(&self, limit::GONE);
        if !left.is_empty() {
            clean_up(&self);
            panic!(
                "left behind after {:?}:\n  {}",
                limit::GONE,
                left.join("\n  ")
            );
        }
    }

    /// Fails the test if anything of it is there now or within [`limit::GONE`]; for use in the
    /// middle of a test.
    #[track_caller]
    pub fn expect_nothing_left(&self) {
        self.expect_nothing_left_within(limit::GONE);
    }

    /// The same with a limit of its own, for what podman alone removes: it promises no time.
    #[track_caller]
    pub fn expect_nothing_left_within(&self, limit: Duration) {
        let left = await_nothing_left(self, limit);
        assert!(
            left.is_empty(),
            "left behind after {limit:?}:\n  {}",
            left.join("\n  ")
        );
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Sandbox {
    #[allow(clippy::print_stderr, reason = "shown only with a test that failed")]
    fn drop(&mut self) {
        if !self.finished {
            // A test that failed half-way leaves what it was working with: no news, but in the way.
            clean_up(self);
        } else if self.has_images.load(Ordering::Relaxed) {
            remove_images(self, self.prefix());
        }
        // It would stay, with nobody to ask anything of it.
        self.end_podman();
        if self.finished {
            return;
        }
        if thread::panicking() {
            eprintln!("(the test failed before its end; what it was working with is removed)");
        } else {
            panic!("a test must call Sandbox::finish");
        }
    }
}

/// Waits for everything to be gone; what is still there after `limit`, in words.
fn await_nothing_left(sandbox: &Sandbox, limit: Duration) -> Vec<String> {
    let mut left = Vec::new();
    let gone = within(limit, || {
        left = leftovers(sandbox);
        left.is_empty().then_some(())
    });
    if gone.is_some() { Vec::new() } else { left }
}

fn leftovers(sandbox: &Sandbox) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    left.extend(processes(sandbox.prefix()).iter().map(Process::describe));
    left.extend(
        vm_dirs(sandbox, sandbox.prefix())
            .iter()
            .map(|dir| format!("VM directory {}", dir.display())),
    );
    left.extend(
        temporary_files(sandbox)
            .iter()
            .map(|f| format!("file {}", f.display())),
    );
    left.extend(
        strays(sandbox)
            .difference(&sandbox.strays_before)
            .map(|path| format!("stray {}", path.display())),
    );
    let containers = containers(sandbox);
    left.extend(
        containers
            .iter()
            .filter(|c| c.name.starts_with(sandbox.prefix()))
            .map(|c| format!("container {} ({})", c.name, c.state)),
    );
    left.extend(
        pods(sandbox, sandbox.prefix())
            .iter()
            .map(|pod| format!("Pod {pod}")),
    );
    left.extend(leftover_mounts(sandbox));
    left
}

/// Removes what the sandbox's test has left, so that one failure does not become another's.
fn clean_up(sandbox: &Sandbox) {
    remove_belongings(sandbox, sandbox.prefix());
}

/// Removes what tests have left that did not live to do it themselves: nextest kills those that
/// hang, and users interrupt the rest.
fn clean_up_after_the_dead(sandbox: &Sandbox) {
    let uid = |path: &Path| fs::metadata(path).map(|meta| meta.uid());
    let own = uid(&sandbox.bin()).ok();
    for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix("bcvk-test-")
            .and_then(|rest| rest.split('-').next());
        let Some(pid) = pid else { continue };
        let same_user = uid(&entry.path().join("bin")).ok() == own;
        if same_user && !Path::new("/proc").join(pid).exists() {
            remove_belongings(sandbox, &format!("bcvk-test-{pid}-"));
            tmpfs::unmount_below(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn remove_belongings(sandbox: &Sandbox, prefix: &str) {
    let mut ids: BTreeSet<String> = containers(sandbox)
        .into_iter()
        .filter(|c| c.name.starts_with(prefix))
        .map(|c| c.id)
        .collect();
    for process in processes(prefix) {
        if let Some(id) = container_of(&process) {
            ids.insert(id);
        }
        // If podman and those that work for it were killed half-way, they would leave a container
        // that is neither here nor gone.
        if !process.is_podmans() {
            process.signal(Signal::KILL);
        }
    }
    for id in ids {
        // The clean-up goes on if something cannot be removed: the test has failed already.
        let _ = sandbox
            .podman(["rm", "--force", "--time=0", "--ignore", &id])
            .run();
    }
    let ended = within(limit::GONE, || processes(prefix).is_empty().then_some(()));
    if ended.is_none() {
        for process in processes(prefix) {
            process.signal(Signal::KILL);
        }
    }
    for dir in vm_dirs(sandbox, prefix) {
        let _ = fs::remove_dir_all(dir);
    }
    // A container of a Pod cannot be removed without the Pod.
    for pod in pods(sandbox, prefix) {
        let _ = sandbox
            .podman(["pod", "rm", "--force", "--time=0", &pod])
            .run();
    }
    remove_images(sandbox, prefix);
}

fn remove_images(sandbox: &Sandbox, prefix: &str) {
    for image in images(sandbox, prefix) {
        let _ = sandbox.podman(["rmi", "--force", &image]).run();
    }
}

fn processes(prefix: &str) -> Vec<Process> {
    let marker = format!("/tmp/{prefix}");
    let guest = format!("guest={prefix}");
    Process::all()
        .into_iter()
        .filter(|p| p.pid != rustix::process::getpid())
        .filter(|p| p.has_in_environment(&marker) || p.args.iter().any(|a| a.starts_with(&guest)))
        .filter(|p| !keeps_user_namespace(p) && !names_containers(p))
        .collect()
}

/// Returns true for the one process per user that rootless podman leaves on purpose.
fn keeps_user_namespace(process: &Process) -> bool {
    process.args == ["podman"] || process.args[0].ends_with("catatonit")
}

/// Returns true for podman's name server. It has one for all containers of its networks: whoever
/// made the first container has started it, and it ends with the last, which may be another test's.
fn names_containers(process: &Process) -> bool {
    process.args[0].ends_with("aardvark-dns")
}

/// Returns the container that this conmon watches.
fn container_of(process: &Process) -> Option<String> {
    if !process.args[0].ends_with("conmon") {
        return None;
    }
    let flag = process.args.iter().position(|arg| arg == "-c")?;
    process.args.get(flag + 1).cloned()
}

fn vm_dirs(sandbox: &Sandbox, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(sandbox.vm_dirs()) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|dir| {
            fs::read_to_string(dir.join("spec.json")).is_ok_and(|spec| spec.contains(prefix))
        })
        .collect()
}

fn temporary_files(sandbox: &Sandbox) -> Vec<PathBuf> {
    fs::read_dir(sandbox.tmp())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}
