//! VMs of a chore's own: started by the bcvk of this tree, told apart by their names.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::geteuid;

use super::build;
use super::error::{Error, Result};
use super::interrupt;
use super::process::clean_up;

/// Limit for commands that start no VM; it is generous, because the machine is busy with VMs.
const SHORT: Duration = Duration::from_secs(120);

/// Grace period after the end of the last VM in which its parts may still be there.
const GONE: Duration = Duration::from_secs(10);

/// Interval between two looks of a wait.
const LOOK: Duration = Duration::from_millis(50);

/// Options that say which VMs are started.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Options {
    /// Image to boot
    #[arg(long, value_name = "REF", default_value = "localhost/bcvk-test:trixie")]
    image: String,

    /// Memory of each VM
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    memory: String,

    /// Use this bcvk and do not build one
    #[arg(long, value_name = "PATH")]
    bcvk: Option<PathBuf>,
}

/// The VMs of this run. Dropping it removes those that are left.
pub struct Vms {
    bcvk: PathBuf,
    root: PathBuf,
    image: String,
    memory: String,
    prefix: String,
}

impl Vms {
    /// Finds bcvk, or builds it.
    pub fn new(options: &Options) -> Result<Self> {
        let bcvk = match &options.bcvk {
            Some(path) => {
                fs::canonicalize(path).map_err(Error::io(format!("find {}", path.display())))?
            }
            None => build::release()?,
        };
        let runtime_dir = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Ok(Self {
            bcvk,
            root: vm_dirs(runtime_dir.filter(|_| !geteuid().is_root())),
            image: options.image.clone(),
            memory: options.memory.clone(),
            prefix: format!("bcvk-chore-{}-", process::id()),
        })
    }

    /// Returns the name of a VM of this run.
    #[must_use]
    pub fn name(&self, number: u32) -> String {
        format!("{}{number}", self.prefix)
    }

    /// Returns the directory that this user's VM directories are in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the command `bcvk ephemeral …`.
    #[must_use]
    pub fn ephemeral(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.bcvk);
        command.args(["-q", "ephemeral"]).args(words);
        command
    }

    /// Makes the command `bcvk ephemeral run -d …` with one processor: emulated ones only wait for
    /// each other.
    #[must_use]
    pub fn start(&self, name: &str, options: &[&str]) -> Command {
        let mut command = self.ephemeral(&["run", "-d", "--vcpus=1", "--name", name]);
        command
            .args(["--memory", &self.memory])
            .args(options)
            .arg(&self.image);
        command
    }

    /// Returns what `podman …` prints. It is asked after Ctrl-C too: for what is to be removed.
    pub fn podman(&self, words: &[&str]) -> Result<String> {
        let finished = clean_up(Command::new("podman").args(words), SHORT)?;
        Ok(finished.success("ask podman")?.stdout)
    }

    /// Lists the VM directories of this run.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let dirs = entries.map(|entry| entry.path());
        dirs.filter(|dir| name_of(dir).is_some_and(|name| name.starts_with(&self.prefix)))
            .collect()
    }

    /// Lists the containers of this run, by name.
    pub fn containers(&self) -> Result<Vec<String>> {
        let filter = format!("--filter=name=^{}", self.prefix);
        let names = self.podman(&["ps", "--all", &filter, "--format={{.Names}}"])?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Waits until nothing is left of any VM of this run.
    pub fn await_nothing_left(&self) -> Result<()> {
        let deadline = Instant::now() + GONE;
        loop {
            let mut left = self.containers()?;
            left.extend(self.directories().iter().map(|d| d.display().to_string()));
            left.extend(self.processes());
            if left.is_empty() {
                return Ok(());
            }
            interrupt::check()?;
            if Instant::now() > deadline {
                return Err(Error::other(format!("left behind: {}", left.join("; "))));
            }
            thread::sleep(LOOK);
        }
    }

    /// Lists the command lines that name a VM of this run: of podman, conmon, QEMU.
    fn processes(&self) -> Vec<String> {
        let lines = command_lines().into_iter();
        lines.filter(|line| line.contains(&self.prefix)).collect()
    }
}

impl Drop for Vms {
    fn drop(&mut self) {
        // The next look reports what is left after this; there is nobody to tell here.
        let Ok(names) = self.containers() else { return };
        if !names.is_empty() {
            let mut command = self.ephemeral(&["rm", "--force"]);
            let _ = clean_up(command.args(names), SHORT);
        }
    }
}

/// Returns the directory that a user's VM directories are in; root has no `XDG_RUNTIME_DIR`.
pub(crate) fn vm_dirs(runtime_dir: Option<PathBuf>) -> PathBuf {
    let user = geteuid().as_raw();
    let base = runtime_dir.unwrap_or_else(|| match user {
        0 => "/run".into(),
        user => format!("/run/user/{user}").into(),
    });
    base.join("bcvk/vms")
}

/// Lists the command lines of every process of this user.
#[must_use]
pub fn command_lines() -> Vec<String> {
    let own = geteuid().as_raw();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() == own))
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        // Kernel threads have no command line, and neither has a process that has ended.
        .filter(|words| !words.is_empty())
        .map(|words| String::from_utf8_lossy(&words).replace('\0', " "))
        .collect()
}

/// The name in the spec of a VM directory; `None` if there is no spec.
fn name_of(dir: &Path) -> Option<String> {
    let spec = fs::read(dir.join("spec.json")).ok()?;
    let spec: serde_json::Value = serde_json::from_slice(&spec).ok()?;
    Some(spec["name"].as_str()?.to_owned())
}
