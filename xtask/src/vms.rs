//! VMs of a chore's own: started by the bcvk of this tree, told apart by their names.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use bcvk_host::{Tool, VmDirs, find_tool};
use clap::Args;

use crate::build;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::process::clean_up;

/// Limit for commands that start no VM; it is generous, because the machine is busy with VMs.
const SHORT: Duration = Duration::from_secs(120);

/// Grace period after the end of the last VM in which its parts may still be there.
const GONE: Duration = Duration::from_secs(10);

/// Interval between two looks of a wait.
const LOOK: Duration = Duration::from_millis(50);

/// Which VMs.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Options {
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
pub(crate) struct Vms {
    bcvk: PathBuf,
    podman: PathBuf,
    dirs: VmDirs,
    image: String,
    memory: String,
    prefix: String,
}

impl Vms {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let bcvk = match &options.bcvk {
            Some(path) => {
                fs::canonicalize(path).map_err(Error::io(format!("find {}", path.display())))?
            }
            None => build::release()?,
        };
        let runtime_dir = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Ok(Self {
            bcvk,
            podman: find_tool(Tool::Podman).map_err(|e| Error::other(e.to_string()))?,
            dirs: VmDirs::open(runtime_dir.as_deref())
                .map_err(Error::io("find bcvk's VM directories"))?,
            image: options.image.clone(),
            memory: options.memory.clone(),
            prefix: format!("bcvk-chore-{}-", process::id()),
        })
    }

    /// Returns the name of a VM of this run.
    pub(crate) fn name(&self, number: u32) -> String {
        format!("{}{number}", self.prefix)
    }

    /// Returns the directory that this user's VM directories are in.
    pub(crate) fn root(&self) -> &Path {
        self.dirs.path()
    }

    /// Makes the command `bcvk ephemeral …`.
    pub(crate) fn ephemeral(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.bcvk);
        command.args(["-q", "ephemeral"]).args(words);
        command
    }

    /// Makes the command `bcvk ephemeral run -d …` with one processor: emulated ones only wait for
    /// each other.
    pub(crate) fn start(&self, name: &str, options: &[&str]) -> Command {
        let mut command = self.ephemeral(&["run", "-d", "--vcpus=1", "--name", name]);
        command
            .args(["--memory", &self.memory])
            .args(options)
            .arg(&self.image);
        command
    }

    /// Returns what `podman …` prints. It is asked after Ctrl-C too: for what is to be removed.
    pub(crate) fn podman(&self, words: &[&str]) -> Result<String> {
        let finished = clean_up(Command::new(&self.podman).args(words), SHORT)?;
        Ok(finished.success("ask podman")?.stdout)
    }

    /// Lists the VM directories of this run.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let dirs = self.dirs.list().unwrap_or_default();
        let ours = dirs.into_iter().filter(|dir| {
            dir.read_spec()
                .is_ok_and(|spec| spec.name.as_str().starts_with(&self.prefix))
        });
        ours.map(|dir| dir.path().to_owned()).collect()
    }

    /// Lists the containers of this run, by name.
    pub(crate) fn containers(&self) -> Result<Vec<String>> {
        let filter = format!("--filter=name=^{}", self.prefix);
        let names = self.podman(&["ps", "--all", &filter, "--format={{.Names}}"])?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Waits until nothing is left of any VM of this run.
    pub(crate) fn await_nothing_left(&self) -> Result<()> {
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

/// Lists the command lines of every process of this user.
pub(crate) fn command_lines() -> Vec<String> {
    let own = rustix::process::geteuid().as_raw();
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
