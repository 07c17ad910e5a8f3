//! Attempts of another user of the host on everything that a VM or a snapshot consists of.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use bcvk_testkit::{Sandbox, Vm};

/// Program that makes the attempts. Only a process can become another user.
const SCRIPT: &str = include_str!("stranger.py");

/// Files of a process in `/proc` that are for its user, or for root, alone.
const OF_PROCESS: [&str; 7] = [
    "r environ",
    "r auxv",
    "r maps",
    "f mem",
    "r ns/mnt",
    "l fd",
    "l root",
];

/// Lines for the program: a kind and a path.
#[derive(Debug, Default)]
pub struct Belongings(Vec<String>);

impl Belongings {
    /// Collects everything below a directory.
    ///
    /// # Panics
    /// If the directory cannot be read.
    #[must_use]
    pub fn below(mut self, dir: &Path) -> Self {
        self.0.push(format!("d {}", dir.display()));
        for entry in fs::read_dir(dir).expect("a directory") {
            let entry = entry.expect("an entry");
            let kind = entry.file_type().expect("a type");
            let path = entry.path();
            if kind.is_dir() {
                self = self.below(&path);
            } else {
                let letter = if kind.is_socket() { 's' } else { 'f' };
                self.0.push(format!("{letter} {}", path.display()));
            }
        }
        self
    }

    /// Collects what a running VM has on the host: its directory, its processes, and what podman keeps
    /// for its container, such as the log.
    ///
    /// # Panics
    /// If the VM does not run.
    #[must_use]
    pub fn of_vm(mut self, vm: &Vm<'_>) -> Self {
        for process in vm.processes() {
            self.0.push(format!("p {}", process.pid.as_raw_nonzero()));
            for line in OF_PROCESS {
                let (kind, file) = line.split_at(2);
                let path = process.proc(file);
                self.0.push(format!("{kind}{}", path.display()));
            }
        }
        let podmans = ["{{.StaticDir}}", "{{.OCIConfigPath}}", "{{.ConmonPidFile}}"];
        for place in podmans.map(|field| PathBuf::from(vm.inspect(field))) {
            let dir = if place.is_dir() {
                &place
            } else {
                place.parent().expect("a directory")
            };
            self = self.below(dir);
        }
        self.below(&vm.dir())
    }

    /// Fails if a stranger gets anything, or if the attempts are none: root gets all of it.
    ///
    /// # Panics
    /// If so.
    #[track_caller]
    pub fn expect_closed(&self, sandbox: &Sandbox) {
        let Some(stranger) = sandbox.stranger("python3") else {
            return;
        };
        let input = self.0.join("\n");
        let script = ["-I", "-c", SCRIPT];
        let strangers = stranger.args(script).stdin(input.clone()).run();
        let strangers = strangers.expect_success().stdout();
        let allowed: Vec<&str> = strangers
            .lines()
            .filter(|line| line.starts_with("allowed"))
            .collect();
        assert!(
            allowed.is_empty(),
            "another user may:\n{}",
            allowed.join("\n")
        );

        let root = sandbox.as_caller("python3").args(script).stdin(input).run();
        let roots = root.expect_success().stdout();
        let refused: Vec<&str> = roots
            .lines()
            .filter(|line| line.starts_with("refused"))
            .collect();
        assert!(
            refused.is_empty(),
            "even root may not:\n{}",
            refused.join("\n")
        );
        for attempt in ["connect to", "read", "write", "list", "make in"] {
            let marked = format!("allowed {attempt} ");
            assert!(roots.contains(&marked), "no attempt to {attempt}: {roots}");
        }
    }
}
