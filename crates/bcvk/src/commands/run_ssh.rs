//! `bcvk ephemeral run-ssh`.

use std::process::{ExitCode, Stdio};

use bcvk_contract::spec::{Lifetime, Purpose};
use bcvk_contract::status::Status;
use bcvk_host::ssh;
use bcvk_host::{
    LAST_WORD, LogFollower, SSH_LOST, SessionEnd, Started, Tool, VmDir, WatchError, Watcher,
    find_tool,
};

use super::plan::RunMode;
use super::ready::await_ready;
use super::refused;
use super::start::{StartOutcome, start};
use super::warm;
use crate::cli::{Output, RunSsh, VmOptions};
use crate::error::{CommandError, UsageError};
use crate::ui::{GuestOutput, Notice, Progress, Ui};

pub(super) fn run_ssh(args: &RunSsh, ui: &Ui) -> Result<ExitCode, CommandError> {
    with_temporary_vm("run-ssh", &args.image, &args.vm, ui, |vm| {
        vm.session(&options(args), &args.command, Stdio::inherit(), ui)
    })
}

/// Returns the options of ssh for a session.
fn options(args: &RunSsh) -> Vec<String> {
    let mut options = Vec::new();
    if args.tty {
        options.push("-t".to_owned());
    }
    if let Some(user) = &args.user {
        options.extend(["-l".to_owned(), user.clone()]);
    }
    options
}

/// A VM that is ready and belongs to this command.
pub(super) struct TemporaryVm<'a> {
    pub(super) started: &'a Started,
    pub(super) watcher: &'a mut Watcher,
    pub(super) status: Status,
}

/// Boots a VM for `verb`, lets `then` have it once it is ready, and removes it, however that ends.
pub(super) fn with_temporary_vm(
    verb: &'static str,
    image: &str,
    options: &VmOptions,
    ui: &Ui,
    then: impl FnOnce(&mut TemporaryVm<'_>) -> Result<ExitCode, CommandError>,
) -> Result<ExitCode, CommandError> {
    if options.guest.no_ssh_keygen {
        return Err(UsageError::SshNeeded { verb }.into());
    }
    match options.guest.purpose() {
        Purpose::Login | Purpose::Boot => {}
        Purpose::Execute => return Err(UsageError::ExecuteOverSsh { verb }.into()),
    }
    if options.guest.output == Some(Output::Events) {
        return Err(UsageError::NoEvents(verb).into());
    }
    find_tool(Tool::Ssh)?;
    let mode = RunMode {
        interactive: false,
        tty: false,
        remove: true,
        lifetime: Lifetime::Cli,
    };
    let shown = options.shown().is_none();
    let (mut started, mut watcher, progress) = match start(image, options, mode, shown, ui)? {
        StartOutcome::Vm(started, watcher, progress) => (started, watcher, progress),
        StartOutcome::Done(code) => return Ok(code),
    };
    let result = booted(options, &mut watcher, &started, progress, ui).and_then(|status| {
        then(&mut TemporaryVm {
            started: &started,
            watcher: &mut watcher,
            status,
        })
    });
    let removed = started.discard();
    let code = result?;
    removed?;
    Ok(code)
}

fn booted(
    options: &VmOptions,
    watcher: &mut Watcher,
    started: &Started,
    progress: Progress,
    ui: &Ui,
) -> Result<Status, CommandError> {
    let shown = options.shown();
    let log = shown
        .map(|stream| LogFollower::start(started.log(stream), GuestOutput::to(std::io::stderr())));
    let ready = await_ready(
        &started.dir,
        watcher,
        options.timeout.duration(),
        progress,
        ui,
    );
    drop(log);
    let ready = ready?;
    ui.warnings(&ready.warnings);
    warm::learn(started, &ready);
    Ok(ready)
}

impl TemporaryVm<'_> {
    /// Runs `command` in the VM, or a shell, with these options of ssh; returns its exit code.
    pub(super) fn session(
        &mut self,
        options: &[String],
        command: &[String],
        stdout: Stdio,
        ui: &Ui,
    ) -> Result<ExitCode, CommandError> {
        let ssh = ssh::command(
            &find_tool(Tool::Ssh)?,
            &self.started.dir,
            self.started.name(),
            options,
            command,
        )
        .stdout(stdout)
        .spawn()
        .map_err(CommandError::io("run ssh"))?;
        let ssh = self.watcher.watch_session(ssh)?;
        let end = self.watcher.await_session(&ssh, None, LAST_WORD);
        exit_code(end, self.watcher, &self.started.dir, ui)
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
