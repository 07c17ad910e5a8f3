//! `bcvk ephemeral run`.

use std::process::ExitCode;

use bcvk_vm::host::{ConsoleFollower, HostError, Started, Target, WatchEvent, Watcher};
use bcvk_vm::spec::Lifetime;
use bcvk_vm::status::Phase;

use super::plan::Manner;
use super::start::start;
use crate::cli::Run;
use crate::ui::{self, Ui};

pub(super) fn run(args: &Run, ui: &Ui) -> Result<ExitCode, HostError> {
    let manner = Manner {
        interactive: args.interactive,
        tty: args.tty,
        remove: args.rm,
        lifetime: Lifetime::Detached,
    };
    let Some((mut started, mut watcher)) = start(&args.image, &args.vm, manner, ui)? else {
        return Ok(ExitCode::SUCCESS);
    };
    match accompany(args, &mut watcher, &started, ui) {
        Ok(Outcome::Left) => Ok(ExitCode::SUCCESS),
        Ok(Outcome::Ended) => {
            started.finish()?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Outcome::ShutDown { signal }) => {
            started.finish()?;
            ui.notice("shut down");
            Ok(ExitCode::from(ui::interrupted(signal)))
        }
        Err(error) => {
            // A guest that failed is kept where podman would keep a container that failed, for its
            // logs. What never became a VM is of no use to anybody.
            let ran = matches!(&error, HostError::Vm(failure) if failure.phase > Phase::Preparing);
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
    /// Powered off by itself.
    Ended,
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
    let status = watcher.wait(Target::Phase(Phase::Qemu), None, &mut |_| {})?;
    ui.warnings(&status);
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
    let _console = (args.vm.console && !at_console)
        .then(|| ConsoleFollower::start(&started.dir, std::io::stdout()));
    let mut progress = ui.progress(!args.vm.console && !at_console);
    let ready = watcher.wait(
        Target::Phase(Phase::Ready),
        Some(args.vm.timeout.duration()),
        &mut |status| progress.show(status),
    );
    progress.finish();
    let ended = match ready {
        Ok(status) => {
            ui.warnings(&status);
            if !at_console {
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
        Ok(_) => Ok(Outcome::Ended),
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
    if args.vm.no_ssh_keygen {
        "ready; Ctrl-C shuts down".to_owned()
    } else {
        let name = started.name();
        format!("ready; `bcvk ephemeral ssh {name}` logs in, Ctrl-C shuts down")
    }
}

/// Waits for the guest to power off; a second signal ends it at once.
fn shut_down(watcher: &mut Watcher, started: &Started) -> Result<(), HostError> {
    started.ask_to_stop()?;
    loop {
        match watcher.next(None) {
            Some(WatchEvent::Signal(_)) => started.end()?,
            Some(WatchEvent::SupervisorEnded) | None => return Ok(()),
            Some(WatchEvent::Status(_) | WatchEvent::Session(_)) => {}
        }
    }
}
