//! Report on a VM that does not answer: everything that can be seen of it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::process::Process;

/// Number of lines of the console that are shown.
const CONSOLE_LINES: usize = 40;

/// Time between two looks at the work of a process.
const PAUSE: Duration = Duration::from_secs(2);

/// A VM to look at if a command hangs.
#[derive(Debug, Clone)]
pub(crate) struct ObservedVm {
    pub(crate) name: String,
    /// The directory of all VM directories.
    pub(crate) vm_dirs: PathBuf,
}

impl ObservedVm {
    /// Reports the end of the VM's console, and what the threads of its processes do: whether the
    /// guest is idle, busy, or waits for a file server.
    pub(crate) fn report(&self) -> String {
        let mut report = format!("--- console of {}\n", self.name);
        let console = self.dir().map(|dir| dir.join("shared/console.log"));
        let console = console.and_then(|path| fs::read(path).ok());
        let console = String::from_utf8_lossy(&console.unwrap_or_default()).into_owned();
        let lines: Vec<&str> = console.lines().collect();
        for line in &lines[lines.len().saturating_sub(CONSOLE_LINES)..] {
            report.push_str(line);
            report.push('\n');
        }
        report.push_str(
            "--- threads: state, clock ticks used, ticks used in two seconds, waits in\n",
        );
        let Some(qemu) = Process::qemu_of(&self.name) else {
            report.push_str("no QEMU\n");
            return report;
        };
        let processes = qemu.parent().map_or_else(Vec::new, |p| p.children());
        let before: Vec<_> = processes.iter().map(threads).collect();
        thread::sleep(PAUSE);
        for (process, before) in processes.iter().zip(before) {
            let _ = writeln!(report, "{}", process.describe());
            for thread in threads(process) {
                let earlier = before.iter().find(|other| other.id == thread.id);
                let since = thread.ticks - earlier.map_or(0, |earlier| earlier.ticks);
                let _ = writeln!(
                    report,
                    "  {} {} {} {since} {}",
                    thread.name, thread.state, thread.ticks, thread.waits_in
                );
            }
        }
        report
    }

    fn dir(&self) -> Option<PathBuf> {
        let named = format!("\"{}\"", self.name);
        let is_its = |dir: &Path| {
            fs::read_to_string(dir.join("spec.json")).is_ok_and(|spec| spec.contains(&named))
        };
        let dirs = fs::read_dir(&self.vm_dirs).ok()?;
        dirs.filter_map(|entry| Some(entry.ok()?.path()))
            .find(|dir| is_its(dir))
    }
}

struct Thread {
    id: String,
    name: String,
    state: String,
    ticks: u64,
    waits_in: String,
}

/// `proc_pid_stat(5)`: the name is in parentheses; after it come the state, and as the twelfth and
/// thirteenth fields the ticks in user and in kernel mode.
fn threads(process: &Process) -> Vec<Thread> {
    let tasks = format!("/proc/{}/task", process.pid.as_raw_nonzero());
    let Ok(entries) = fs::read_dir(tasks) else {
        return Vec::new();
    };
    let look = |task: &Path| {
        let stat = fs::read_to_string(task.join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Thread {
            id: task.file_name()?.to_str()?.to_owned(),
            name: name.split_once('(')?.1.to_owned(),
            state: (*fields.first()?).to_owned(),
            ticks: ticks(11)? + ticks(12)?,
            waits_in: fs::read_to_string(task.join("wchan")).unwrap_or_default(),
        })
    };
    entries
        .filter_map(|entry| look(&entry.ok()?.path()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_this_process() {
        let me = Process::with_pid(rustix::process::getpid()).expect("this process");
        assert!(threads(&me).iter().any(|thread| thread.state == "R"));
    }
}
