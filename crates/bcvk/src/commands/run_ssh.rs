//! `bcvk ephemeral run-ssh`.

use std::process::{ExitCode, Stdio};

use bcvk_contract::spec::{Lifetime, Purpose};
use bcvk_contract::status::{Phase, Status};
use bcvk_host::{LogFollower, Started, Tool, Watcher, find_tool};

use super::own_session::OwnSession;
use super::plan::RunMode;
use super::ready::await_ready;
use super::start::{StartOutcome, start};
use super::warm;
use crate::cli::{Output, RunSsh, VmOptions};
use crate::error::{CommandError, Kind, UsageError};
use crate::ui::{GuestOutput, Notice, Progress, Ui};

pub(super) fn run_ssh(args: &RunSsh, ui: &Ui) -> Result<ExitCode, CommandError> {
    let session = OwnSession::new(options(args), &args.command, Stdio::inherit);
    let booted = BootedFor {
        verb: "run-ssh",
        session: Some(session),
        keep: args.keep.keep_on_failure,
    };
    with_temporary_vm(booted, &args.image, &args.vm, ui, |vm| {
        Ok(vm.session(ui)?.unwrap_or(ExitCode::SUCCESS))
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

/// The command that a VM is booted for.
pub(super) struct BootedFor<'a> {
    pub(super) verb: &'static str,
    pub(super) session: Option<OwnSession<'a>>,
    /// The VM stays if something fails.
    pub(super) keep: bool,
}

/// A VM that is ready and belongs to this command.
pub(super) struct TemporaryVm<'a> {
    pub(super) started: &'a Started,
    pub(super) watcher: &'a mut Watcher,
    pub(super) status: Status,
    session: Option<OwnSession<'a>>,
}

impl TemporaryVm<'_> {
    /// Runs the session that the VM was booted for, if it was, and returns its exit code.
    pub(super) fn session(&mut self, ui: &Ui) -> Result<Option<ExitCode>, CommandError> {
        let session = self.session.take();
        let code = session.map(|session| session.run(self.started, self.watcher, ui));
        code.transpose()
    }
}

/// Boots a VM for a command, lets `then` have it and the session once it is ready, and removes the VM,
/// however that ends, unless what failed is to be kept.
pub(super) fn with_temporary_vm(
    booted_for: BootedFor<'_>,
    image: &str,
    options: &VmOptions,
    ui: &Ui,
    then: impl FnOnce(&mut TemporaryVm<'_>) -> Result<ExitCode, CommandError>,
) -> Result<ExitCode, CommandError> {
    let BootedFor {
        verb,
        mut session,
        keep,
    } = booted_for;
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
        remove: !keep,
        lifetime: if keep {
            Lifetime::Detached
        } else {
            Lifetime::Cli
        },
    };
    let shown = options.shown().is_none();
    let (mut started, mut watcher, progress) = match start(image, options, mode, shown, ui)? {
        StartOutcome::Vm(started, watcher, progress) => (started, watcher, progress),
        StartOutcome::Done(code) => return Ok(code),
    };
    let booted = booted(options, &mut watcher, &started, progress, &mut session, ui);
    let result = booted.and_then(|status| {
        let mut vm = TemporaryVm {
            started: &started,
            watcher: &mut watcher,
            status,
            session,
        };
        then(&mut vm)
    });
    if keep && is_failure(&result) {
        return tell_kept(&started, result, ui);
    }
    let removed = started.discard();
    let code = result?;
    removed?;
    Ok(code)
}

/// Returns true if the VM has something to show of a failure.
fn is_failure(result: &Result<ExitCode, CommandError>) -> bool {
    match result {
        Ok(code) => *code != ExitCode::SUCCESS,
        Err(error) => matches!(error.kind, Kind::Guest { .. } | Kind::Ended | Kind::Timeout),
    }
}

/// Says how to get at a VM that stays, below what was wrong.
fn tell_kept(
    started: &Started,
    result: Result<ExitCode, CommandError>,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let name = started.name();
    match result {
        Ok(code) => {
            let is_up = |status: Status| status.phase == Phase::Ready;
            let lives = started.dir.shared().supervisor_lives();
            let runs = lives && started.status().is_some_and(is_up);
            ui.notice(&Notice::Kept { name, runs });
            Ok(code)
        }
        Err(mut error) => {
            // Whatever else has failed ends in a moment, if it has not ended yet.
            let runs = error.kind == Kind::Timeout;
            error.hints.push(Notice::Kept { name, runs }.to_string());
            Err(error)
        }
    }
}

fn booted(
    options: &VmOptions,
    watcher: &mut Watcher,
    started: &Started,
    progress: Progress,
    session: &mut Option<OwnSession<'_>>,
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
        &mut |status| {
            if let Some(session) = session {
                session.follow(started, status);
            }
        },
        ui,
    );
    drop(log);
    let ready = ready?;
    ui.warnings(&ready.warnings);
    warm::learn(started, &ready);
    Ok(ready)
}
