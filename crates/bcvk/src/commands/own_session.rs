//! The session for which a command boots a VM.
//!
//! Until ssh and the guest have agreed on keys, an emulated guest has started three programs. So ssh is
//! started as soon as a session is possible, beside the rest of the boot. Nobody is logged in before
//! the VM is ready: its `ProxyCommand` keeps back what follows the agreement for as long as this command
//! has the VM's [`VmDir::lock_sessions`].

use std::process::{Child, ExitCode, Stdio};

use bcvk_contract::lock::Lock;
use bcvk_contract::spec::Reachable;
use bcvk_contract::status::{Phase, Status};
use bcvk_host::ssh;
use bcvk_host::{
    LAST_WORD, SSH_LOST, SessionEnd, Started, Tool, VmDir, WatchError, Watcher, find_tool,
};

use super::refused;
use crate::error::CommandError;
use crate::ui::{Notice, Ui};

/// The session that a command line asks for.
pub(super) struct OwnSession<'a> {
    /// Options of ssh.
    pub(super) options: Vec<String>,
    /// Words of the command; none for a shell.
    pub(super) command: &'a [String],
    /// Makes its standard output.
    pub(super) stdout: fn() -> Stdio,
    /// The session, if it has begun before the VM is ready.
    early: Option<Early>,
}

impl<'a> OwnSession<'a> {
    pub(super) fn new(options: Vec<String>, command: &'a [String], stdout: fn() -> Stdio) -> Self {
        Self {
            options,
            command,
            stdout,
            early: None,
        }
    }

    /// Begins the session if the VM has come so far that it can.
    pub(super) fn follow(&mut self, started: &Started, status: &Status) {
        if status.phase != Phase::Reachable || self.early.is_some() {
            return;
        }
        let spec = started.dir.read_spec();
        if spec.is_ok_and(|spec| spec.reachable() == Reachable::Answers) {
            // Where that fails, the session begins when the VM is ready.
            self.early = self.begin(started).ok();
        }
    }

    fn begin(&self, started: &Started) -> Result<Early, CommandError> {
        let closed = started.dir.lock_sessions();
        let closed = closed.map_err(CommandError::io("lock the VM's sessions"))?;
        let ssh = Some(self.spawn(started)?);
        Ok(Early {
            ssh,
            _closed: closed,
        })
    }

    fn spawn(&self, started: &Started) -> Result<Child, CommandError> {
        let program = find_tool(Tool::Ssh)?;
        let (dir, name) = (&started.dir, started.name());
        ssh::command(&program, dir, name, &self.options, self.command)
            .stdout((self.stdout)())
            .spawn()
            .map_err(CommandError::io("run ssh"))
    }

    /// Lets the session go on in a VM that is ready, and returns its exit code.
    pub(super) fn run(
        mut self,
        started: &Started,
        watcher: &mut Watcher,
        ui: &Ui,
    ) -> Result<ExitCode, CommandError> {
        let early = self.early.take().and_then(Early::open);
        let ssh = match early {
            Some(ssh) => ssh,
            None => self.spawn(started)?,
        };
        let ssh = watcher.watch_session(ssh)?;
        let end = watcher.await_session(&ssh, None, LAST_WORD);
        exit_code(end, watcher, &started.dir, ui)
    }
}

/// A session in a VM that is not ready.
struct Early {
    ssh: Option<Child>,
    _closed: Lock,
}

impl Early {
    /// Lets the session go on; `None` if its ssh has ended.
    fn open(mut self) -> Option<Child> {
        let mut ssh = self.ssh.take()?;
        matches!(ssh.try_wait(), Ok(None)).then_some(ssh)
    }
}

impl Drop for Early {
    /// Ends a session that has not been let go, before it hears of the VM's end and says so.
    fn drop(&mut self) {
        if let Some(mut ssh) = self.ssh.take() {
            // One that has ended is none to end.
            let _ = ssh.kill();
            let _ = ssh.wait();
        }
    }
}

/// Returns the session's exit code; a lost connection is explained if the VM knows why.
pub(super) fn exit_code(
    end: SessionEnd,
    watcher: &Watcher,
    dir: &VmDir,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let code = match end {
        SessionEnd::Signal(signal) => return Err(WatchError::Interrupted { signal }.into()),
        SessionEnd::Exited(code) | SessionEnd::VmEnded(code) => code,
        SessionEnd::Lost | SessionEnd::Deadline => SSH_LOST,
    };
    if code == SSH_LOST {
        if watcher.is_over()? {
            ui.notice(&Notice::ShutDownBySession);
        } else {
            refused::explain(dir, ui);
        }
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "a test writes what a container does"
)]
mod tests {
    use std::fs;

    use bcvk_contract::exit;
    use bcvk_contract::lock::{Lock, lock_file};
    use bcvk_contract::shared::SharedPaths;
    use bcvk_contract::status::{Failure, FailureKind, Phase, StatusWriter};

    use super::*;

    fn qemu_ended() -> Failure {
        Failure {
            kind: FailureKind::Host,
            phase: Phase::Ready,
            message: "QEMU ended unexpectedly".to_owned(),
            causes: Vec::new(),
            hint: None,
            remedy: None,
            failed_units: Vec::new(),
            console_tail: Vec::new(),
        }
    }

    /// ssh's exit code does not say which end of the connection failed, and why.
    #[test]
    fn a_session_that_its_vm_has_ended_says_why_the_vm_ended() {
        let dir = tempfile::tempdir().expect("a directory");
        let shared = SharedPaths::at(dir.path().join("shared"));
        fs::create_dir(shared.dir()).expect("made");
        let lock = lock_file(&shared.supervisor_lock()).expect("made");
        let alive = Lock::exclusive(lock).expect("taken");
        let mut status = StatusWriter::create(shared.dir()).expect("made");
        let vm_dir = VmDir::at(dir.path());
        let watcher = Watcher::open(&vm_dir).expect("watched");
        let ui = Ui::new(true, 0);
        let end = |end| exit_code(end, &watcher, &vm_dir, &ui).map_err(|error| error.to_string());

        let lost = ExitCode::from(255);
        assert_eq!(end(SessionEnd::Lost), Ok(lost), "the VM lives");
        assert_eq!(end(SessionEnd::Exited(3)), Ok(ExitCode::from(3)));
        status.enter(Phase::Ready).expect("written");
        status.fail(qemu_ended()).expect("written");
        for lost in [SessionEnd::Lost, SessionEnd::VmEnded(SSH_LOST)] {
            let error = end(lost).expect_err("the VM has failed");
            assert!(error.contains("QEMU ended unexpectedly"), "{error}");
        }
        status.exit(exit::HOST).expect("written");
        drop(alive);
        end(SessionEnd::VmEnded(SSH_LOST)).expect_err("the VM has failed");
    }
}
