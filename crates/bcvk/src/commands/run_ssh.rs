//! `bcvk ephemeral run-ssh`.

use std::process::{ExitCode, Stdio};

use bcvk_contract::spec::{Lifetime, Purpose};
use bcvk_contract::status::Status;
use bcvk_host::ssh;
use bcvk_host::{
    LAST_WORD, LogFollower, SSH_LOST, SessionEnd, Started, Tool, WatchError, Watcher, find_tool,
};

use super::plan::RunMode;
use super::ready::await_ready;
use super::start::{StartOutcome, start};
use super::warm;
use crate::cli::{Output, RunSsh, VmOptions};
use crate::error::{CommandError, UsageError};
use crate::ui::{GuestOutput, Notice, Progress, Ui};

pub(super) fn run_ssh(args: &RunSsh, ui: &Ui) -> Result<ExitCode, CommandError> {
    with_temporary_vm("run-ssh", &args.image, &args.vm, ui, |vm| {
        vm.session(args.tty, &args.command, Stdio::inherit(), ui)
    })
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
    /// Runs `command` in the VM, or a shell; returns its exit code.
    pub(super) fn session(
        &mut self,
        tty: bool,
        command: &[String],
        stdout: Stdio,
        ui: &Ui,
    ) -> Result<ExitCode, CommandError> {
        let mut options = Vec::new();
        if tty {
            options.push("-t".to_owned());
        }
        let ssh = ssh::command(
            &find_tool(Tool::Ssh)?,
            &self.started.dir,
            self.started.name(),
            &options,
            command,
        )
        .stdout(stdout)
        .spawn()
        .map_err(CommandError::io("run ssh"))?;
        let ssh = self.watcher.watch_session(ssh)?;
        let end = self.watcher.await_session(&ssh, None, LAST_WORD);
        exit_code(end, self.watcher, ui)
    }
}

/// Returns the session's exit code; a lost connection is explained if the VM knows why.
fn exit_code(end: SessionEnd, watcher: &Watcher, ui: &Ui) -> Result<ExitCode, CommandError> {
    let code = match end {
        SessionEnd::Signal(signal) => return Err(WatchError::Interrupted { signal }.into()),
        SessionEnd::Exited(code) | SessionEnd::VmEnded(code) => code,
        SessionEnd::Lost | SessionEnd::Deadline => SSH_LOST,
    };
    if code == SSH_LOST && watcher.is_over()? {
        ui.notice(&Notice::ShutDownBySession);
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}
