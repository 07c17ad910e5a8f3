//! `bcvk ephemeral run`.

use std::io;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bcvk_contract::limits::STOP_TIMEOUT_SECONDS;
use bcvk_contract::spec::{Lifetime, Purpose};
use bcvk_contract::status::{Phase, Status};
use bcvk_host::{CommandOutput, LogFollower, Started, Target, VmEvent, WatchError, Watcher};

use super::plan::RunMode;
use super::ps::ssh_command;
use super::ready::await_ready;
use super::start::{StartOutcome, start};
use super::warm;
use crate::cli::{Output, Run};
use crate::error::{CommandError, UsageError, interrupted};
use crate::ui::{Event, GuestOutput, Image, Notice, OutputEvents, OutputStream, Progress, Ui};

pub(super) fn run(args: &Run, ui: &Ui) -> Result<ExitCode, CommandError> {
    if args.vm.guest.output == Some(Output::Events) {
        if !args.has_room_for_events() {
            return Err(UsageError::NoEvents("-i, -t, --debug and --dry-run").into());
        }
        ui.begin_events();
    }
    let mode = RunMode {
        interactive: args.interactive,
        tty: args.tty,
        remove: args.rm,
        // The VM of a command is of no use without the user who waits for its output.
        lifetime: match args.vm.guest.purpose() {
            Purpose::Execute if !args.detach => Lifetime::Cli,
            Purpose::Login | Purpose::Boot | Purpose::Execute => Lifetime::Detached,
        },
    };
    let shown = !args.detach && args.vm.shown().is_none() && !at_console(args);
    let (mut started, mut watcher, progress) = match start(&args.image, &args.vm, mode, shown, ui)?
    {
        StartOutcome::Vm(started, watcher, progress) => (started, watcher, progress),
        StartOutcome::Done(code) => return Ok(code),
    };
    let outcome = accompany(args, &mut watcher, &started, progress, ui);
    // The supervisor may have written more since the last status that was waited for.
    if let Some(status) = started.status() {
        ui.follow(&status);
    }
    match outcome {
        Ok(Outcome::Left) => Ok(end(0, true, ui)),
        Ok(Outcome::Ended { code }) => {
            started.finish()?;
            Ok(end(code, false, ui))
        }
        Ok(Outcome::ShutDown { signal }) => {
            started.finish()?;
            ui.notice(&Notice::ShutDown);
            Ok(end(interrupted(signal), false, ui))
        }
        Ok(Outcome::Failed(error)) => {
            if has_run(&error) {
                started.finish()?;
            } else {
                started.discard()?;
            }
            Err(error.into())
        }
        Err(error) => {
            started.discard()?;
            Err(error)
        }
    }
}

/// Returns true if the VM is worth keeping for its logs: a guest that failed is kept as podman would
/// keep a container that failed.
fn has_run(error: &WatchError) -> bool {
    match error {
        WatchError::Vm(failure) => failure.phase > Phase::Preparing,
        WatchError::Stopped => true,
        WatchError::SupervisorNotStarted { .. }
        | WatchError::SupervisorVanished { .. }
        | WatchError::ReadyTimeout { .. }
        | WatchError::Detached
        | WatchError::Interrupted { .. } => false,
    }
}

fn tell_start(started: &Started, ui: &Ui) -> Result<(), CommandError> {
    let Some(events) = ui.events() else {
        return Ok(());
    };
    let spec = started.dir.read_spec();
    let spec = spec.map_err(CommandError::io("read what the VM was started with"))?;
    events.tell(Event::Started {
        name: spec.name.to_string(),
        id: started.dir.container_id().unwrap_or_default(),
        image: Image {
            id: spec.image.id,
            name: spec.image.reference,
        },
        accelerator: spec.accel,
    });
    Ok(())
}

fn tell_ready(status: &Status, started: &Started, ui: &Ui) {
    let Some(events) = ui.events() else { return };
    let ssh = started.dir.read_spec().ok().as_ref().and_then(ssh_command);
    events.tell(Event::Ready {
        ssh_config: ssh.is_some().then(|| started.dir.ssh_config()),
        ssh,
        resumed: status.resumed,
        stage: status.stage,
        differs: status.differs.clone(),
    });
}

fn end(exit_code: u8, running: bool, ui: &Ui) -> ExitCode {
    if let Some(events) = ui.events() {
        events.tell(Event::Ended { exit_code, running });
    }
    ExitCode::from(exit_code)
}

/// State in which a command leaves its VM.
enum Outcome {
    /// The VM is left running.
    Left,
    /// The VM powered off by itself, or after its commands; with the exit code of those.
    Ended { code: u8 },
    /// The VM powered off because of a signal.
    ShutDown { signal: i32 },
    /// The VM failed, or is ended because it was not ready in time.
    Failed(WatchError),
}

fn accompany(
    args: &Run,
    watcher: &mut Watcher,
    started: &Started,
    progress: Progress,
    ui: &Ui,
) -> Result<Outcome, CommandError> {
    tell_start(started, ui)?;
    if !args.detach {
        return attached(args, watcher, started, progress, ui);
    }
    // A VM that does not even come so far is an error of this command, and leaves nothing.
    let status = watcher.wait(
        Target::Phase(Phase::Qemu),
        Some(args.vm.timeout.duration()),
        &mut |status| ui.follow(status),
    )?;
    ui.warnings(&status.warnings);
    warm::learn(started, &status);
    if ui.events().is_none() {
        ui.result(&started.dir.container_id().unwrap_or_default());
    }
    Ok(Outcome::Left)
}

/// Returns true if the user's terminal is the guest's.
fn at_console(args: &Run) -> bool {
    args.interactive || args.tty
}

/// Stays with the VM until it ends. The first signal shuts it down, the second ends it.
fn attached(
    args: &Run,
    watcher: &mut Watcher,
    started: &Started,
    progress: Progress,
    ui: &Ui,
) -> Result<Outcome, CommandError> {
    let at_console = at_console(args);
    if at_console {
        watcher.watch_session(started.attach()?)?;
    }
    let executes = args.vm.guest.purpose().executes();
    let shown = args.vm.shown().filter(|_| !at_console);
    let _log = shown.map(|stream| {
        let log = started.log(stream);
        if executes {
            // Standard output is for the command's output.
            LogFollower::start(log, GuestOutput::to(io::stderr()))
        } else {
            LogFollower::start(log, GuestOutput::to(io::stdout()))
        }
    });
    let output = executes.then(|| command_output(started, ui)).transpose()?;
    let ready = await_ready(
        &started.dir,
        watcher,
        args.vm.timeout.duration(),
        progress,
        &mut |_| {},
        ui,
    );
    let mut warned = 0;
    let ended = match ready {
        Ok(status) => {
            warned = status.warnings.len();
            ui.warnings(&status.warnings);
            warm::learn(started, &status);
            tell_ready(&status, started, ui);
            if !at_console && !executes {
                let ssh = (!args.vm.guest.no_ssh_keygen).then(|| started.name());
                ui.notice(&Notice::Ready { ssh });
            }
            watcher.wait(Target::End, None, &mut |status| ui.follow(status))
        }
        Err(WatchError::ReadyTimeout { .. }) if at_console => {
            watcher.wait(Target::End, None, &mut |_| {})
        }
        Err(WatchError::Stopped) => powered_off(started).ok_or(WatchError::Stopped),
        Err(error) => Err(error),
    };
    match ended {
        Ok(status) => {
            if let Some(output) = output {
                output.finish();
            }
            ui.warnings(status.warnings.get(warned..).unwrap_or_default());
            let code = status.exit_code.or(status.executed).unwrap_or_default();
            Ok(Outcome::Ended { code })
        }
        Err(WatchError::Interrupted { signal }) => {
            shut_down(watcher, started, warned, ui)?;
            Ok(Outcome::ShutDown { signal })
        }
        Err(WatchError::Detached) => Ok(Outcome::Left),
        Err(error) => {
            started.end()?;
            Ok(Outcome::Failed(error))
        }
    }
}

/// Returns the status of a VM that was not ready, and that powered off in good order before anybody
/// asked it to.
fn powered_off(started: &Started) -> Option<Status> {
    let status = started.dir.shared().status().ok().flatten()?;
    let asked = status.began(Phase::Stopping).is_some();
    (status.exit_code == Some(0) && !asked).then_some(status)
}

fn command_output(started: &Started, ui: &Ui) -> Result<CommandOutput, CommandError> {
    let output = match ui.events() {
        Some(events) => CommandOutput::start(
            &started.dir,
            OutputEvents::new(events, OutputStream::Stdout),
            OutputEvents::new(events, OutputStream::Stderr),
        ),
        None => CommandOutput::start(&started.dir, io::stdout(), io::stderr()),
    };
    output.map_err(CommandError::io("open the output of the commands"))
}

/// Waits for the guest to power off; a second signal ends it at once.
fn shut_down(
    watcher: &mut Watcher,
    started: &Started,
    warned: usize,
    ui: &Ui,
) -> Result<(), CommandError> {
    started.ask_to_stop()?;
    let deadline = Instant::now() + Duration::from_secs(STOP_TIMEOUT_SECONDS.into());
    watcher.follow(Some(deadline), |event, _| {
        match event {
            VmEvent::Signal(_) => {
                if let Err(error) = started.end() {
                    return ControlFlow::Break(Err(error.into()));
                }
            }
            VmEvent::SupervisorEnded => {
                // Its last word may be that the guest had to be killed.
                if let Ok(Some(status)) = started.dir.shared().status() {
                    ui.warnings(status.warnings.get(warned..).unwrap_or_default());
                }
                return ControlFlow::Break(Ok(()));
            }
            VmEvent::Status(status) => ui.follow(&status),
            VmEvent::Session(_) => {}
            // The supervisor ends a guest before this deadline; so the supervisor itself hangs.
            VmEvent::Deadline => return ControlFlow::Break(started.end().map_err(Into::into)),
        }
        ControlFlow::Continue(())
    })
}
