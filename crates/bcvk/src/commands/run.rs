//! `bcvk ephemeral run`.

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bcvk_vm::host::podman::STOP_TIMEOUT_SECONDS;
use bcvk_vm::host::{CommandOutput, HostError, LogFollower, Started, Target, WatchEvent, Watcher};
use bcvk_vm::spec::Lifetime;
use bcvk_vm::status::Phase;

use super::plan::Manner;
use super::start::{Begun, start};
use super::warm;
use crate::cli::Run;
use crate::ui::{self, GuestOutput, Ui};

pub(super) fn run(args: &Run, ui: &Ui) -> Result<ExitCode, HostError> {
    let manner = Manner {
        interactive: args.interactive,
        tty: args.tty,
        remove: args.rm,
        // A command's VM is of no use without the one who waits for its output.
        lifetime: if args.detach || args.vm.guest.execute.is_empty() {
            Lifetime::Detached
        } else {
            Lifetime::Cli
        },
    };
    let (mut started, mut watcher) = match start(&args.image, &args.vm, manner, ui)? {
        Begun::Vm(started, watcher) => (started, watcher),
        Begun::Done(code) => return Ok(code),
    };
    match accompany(args, &mut watcher, &started, ui) {
        Ok(Outcome::Left) => Ok(ExitCode::SUCCESS),
        Ok(Outcome::Ended { code }) => {
            started.finish()?;
            Ok(ExitCode::from(code))
        }
        Ok(Outcome::ShutDown { signal }) => {
            started.finish()?;
            ui.notice("shut down");
            Ok(ExitCode::from(ui::interrupted(signal)))
        }
        Err(error) => {
            // A guest that failed is kept where podman would keep a container that failed, for its
            // logs. What never became a VM is of no use to anybody.
            let ran = match &error {
                HostError::Vm(failure) => failure.phase > Phase::Preparing,
                HostError::Stopped => true,
                _ => false,
            };
            if ran && !args.detach {
                started.finish()?;
            } else {
                started.discard()?;
            }
            Err(error)
        }
    }
}

/// How a command leaves its VM.
enum Outcome {
    /// Running.
    Left,
    /// Powered off by itself, or after its commands; with the exit code of those.
    Ended { code: u8 },
    /// Powered off because of a signal.
    ShutDown { signal: i32 },
}

fn accompany(
    args: &Run,
    watcher: &mut Watcher,
    started: &Started,
    ui: &Ui,
) -> Result<Outcome, HostError> {
    if !args.detach {
        return attached(args, watcher, started, ui);
    }
    // What cannot even come so far is an error of this command, and leaves nothing.
    let status = watcher.wait(
        Target::Phase(Phase::Qemu),
        Some(args.vm.timeout.duration()),
        &mut |_| {},
    )?;
    ui.warnings(&status.warnings);
    warm::learn(started, &status);
    ui.result(&started.dir.container_id().unwrap_or_default());
    Ok(Outcome::Left)
}

/// Stays with the VM until it ends. The first signal shuts it down, the second ends it.
fn attached(
    args: &Run,
    watcher: &mut Watcher,
    started: &Started,
    ui: &Ui,
) -> Result<Outcome, HostError> {
    let at_console = args.interactive || args.tty;
    if at_console {
        watcher.watch_session(started.attach()?);
    }
    let executes = !args.vm.guest.execute.is_empty();
    let shown = args.vm.shown().filter(|_| !at_console);
    let _log = shown.map(|stream| {
        let log = started.log(stream);
        if executes {
            // Standard output is the command's.
            LogFollower::start(log, GuestOutput::to(io::stderr()))
        } else {
            LogFollower::start(log, GuestOutput::to(io::stdout()))
        }
    });
    let output = executes.then(|| CommandOutput::start(&started.dir, io::stdout(), io::stderr()));
    let mut progress = ui.progress(shown.is_none() && !at_console);
    let ready = watcher.wait(
        Target::Phase(Phase::Ready),
        Some(args.vm.timeout.duration()),
        &mut |status| progress.show(status),
    );
    progress.finish();
    let mut told = 0;
    let ended = match ready {
        Ok(status) => {
            told = status.warnings.len();
            ui.warnings(&status.warnings);
            warm::learn(started, &status);
            if !at_console && !executes {
                ui.notice(&ready_notice(args, started));
            }
            watcher.wait(Target::End, None, &mut |_| {})
        }
        Err(HostError::ReadyTimeout { .. }) if at_console => {
            watcher.wait(Target::End, None, &mut |_| {})
        }
        Err(error) => Err(error),
    };
    match ended {
        Ok(status) => {
            if let Some(output) = output {
                output.finish();
            }
            ui.warnings(status.warnings.get(told..).unwrap_or_default());
            let code = status.executed.unwrap_or_default();
            Ok(Outcome::Ended { code })
        }
        Err(HostError::Interrupted { signal }) => {
            shut_down(watcher, started)?;
            Ok(Outcome::ShutDown { signal })
        }
        Err(HostError::Detached) => Ok(Outcome::Left),
        Err(error) => {
            started.end()?;
            Err(error)
        }
    }
}

fn ready_notice(args: &Run, started: &Started) -> String {
    if args.vm.guest.no_ssh_keygen {
        "ready; Ctrl-C shuts down".to_owned()
    } else {
        let name = started.name();
        format!("ready; `bcvk ephemeral ssh {name}` logs in, Ctrl-C shuts down")
    }
}

/// Waits for the guest to power off; a second signal ends it at once.
fn shut_down(watcher: &mut Watcher, started: &Started) -> Result<(), HostError> {
    started.ask_to_stop()?;
    let deadline = Instant::now() + Duration::from_secs(STOP_TIMEOUT_SECONDS.into());
    loop {
        match watcher.next(Some(deadline)) {
            Some(WatchEvent::Signal(_)) => started.end()?,
            Some(WatchEvent::SupervisorEnded) => return Ok(()),
            Some(WatchEvent::Status(_) | WatchEvent::Session(_)) => {}
            // The supervisor ends a guest before that; it hangs itself.
            None => return started.end(),
        }
    }
}
