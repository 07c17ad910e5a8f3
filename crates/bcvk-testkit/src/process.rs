//! Processes of this machine, as `/proc` shows them.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// A process at the moment it was looked at.
#[derive(Debug, Clone)]
pub struct Process {
    /// Process ID.
    pub pid: Pid,
    /// Arguments, the program first.
    pub args: Vec<String>,
    environ: Vec<u8>,
}

impl Process {
    /// Returns all processes that can be looked at.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Self::look)
            .collect()
    }

    /// Returns the QEMU of the VM with this name.
    #[must_use]
    pub fn qemu_of(name: &str) -> Option<Self> {
        let argument = format!("guest={name}");
        Self::all()
            .into_iter()
            .find(|p| p.args.contains(&argument) && p.args[0].contains("qemu"))
    }

    /// Returns the process with this ID.
    #[must_use]
    pub fn with_pid(pid: Pid) -> Option<Self> {
        Self::look(pid.as_raw_nonzero().get())
    }

    /// Returns the process that started this one, or that has taken its place.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        Self::look(self.parent_pid()?)
    }

    /// Returns the processes that this one has started.
    #[must_use]
    pub fn children(&self) -> Vec<Self> {
        let pid = Some(self.pid.as_raw_nonzero().get());
        let mut all = Self::all();
        all.retain(|process| process.parent_pid() == pid);
        all
    }

    fn parent_pid(&self) -> Option<i32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero()));
        let status = status.ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        line.trim().parse().ok()
    }

    fn look(pid: i32) -> Option<Self> {
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        // Kernel threads and zombies have no command line.
        if cmdline.is_empty() {
            return None;
        }
        let mut args: Vec<String> = cmdline
            .split(|byte| *byte == 0)
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        args.pop();
        Some(Self {
            pid: Pid::from_raw(pid)?,
            args,
            environ: fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(),
        })
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // If the process has ended already, the test will notice.
        let _ = kill_process(self.pid, signal);
    }

    /// Returns the path of a file in the process's directory below `/proc`.
    #[must_use]
    pub fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.pid.as_raw_nonzero().to_string())
            .join(file)
    }

    /// Returns the files that the process has mapped, by the names that they have in its own mount
    /// namespace. Files without a file system's name, such as memory files, are left out.
    #[must_use]
    pub fn mapped_files(&self) -> Vec<MappedFile> {
        let maps = fs::read_to_string(self.proc("maps")).unwrap_or_default();
        let mut files: Vec<MappedFile> = maps.lines().filter_map(MappedFile::parse).collect();
        files.sort();
        files.dedup();
        files
    }

    /// Returns true if this text is somewhere in the process's environment.
    #[must_use]
    pub fn has_in_environment(&self, text: &str) -> bool {
        self.environ
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }

    /// Returns true if the process is podman, or works for it.
    pub(crate) fn is_podmans(&self) -> bool {
        let program = self.args[0].rsplit('/').next().unwrap_or_default();
        [
            "podman",
            "conmon",
            "runc",
            "crun",
            "netavark",
            "slirp4netns",
            "pasta",
        ]
        .contains(&program)
    }

    /// Returns the first words of the process's command line.
    pub(crate) fn describe(&self) -> String {
        let line: String = self.args.join(" ").chars().take(160).collect();
        format!("process {}: {line}", self.pid.as_raw_nonzero())
    }
}

/// A file that a process has mapped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MappedFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Number of the file in its file system.
    pub inode: u64,
}

impl MappedFile {
    /// Parses a line of `/proc/PID/maps` (`proc_pid_maps(5)`): addresses, permissions, offset,
    /// device, inode and the name, if there is one.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.splitn(6, ' ').collect();
        let path = fields.get(5)?.trim_start();
        path.starts_with('/').then(|| Self {
            path: path.into(),
            inode: fields[4].parse().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn this_process_has_mapped_its_own_program() {
        let me = Process::with_pid(rustix::process::getpid()).expect("this process");
        let path = std::env::current_exe().expect("its path");
        let inode = fs::metadata(&path).expect("metadata").ino();
        let files = me.mapped_files();
        assert!(files.contains(&MappedFile { path, inode }), "{files:?}");
    }
}
