//! `bcvk ephemeral run`.

use std::process::ExitCode;

use bcvk_vm::host::{HostError, SignalSource, Started, Streams, Target, WatchEvent, Watcher};
use bcvk_vm::spec::{Lifetime, Timeout};
use bcvk_vm::status::Phase;

use super::Context;
use super::plan::{Manner, plan};
use crate::cli::Run;
use crate::ui::Ui;

pub(super) fn run(args: &Run, ui: &Ui) -> Result<ExitCode, HostError> {
    let context = Context::open()?;
    let console = args.vm.console || args.tty || args.interactive;
    let streams = if args.detach {
        Streams::Detached
    } else {
        Streams::Attached {
            console,
            interactive: args.interactive,
            tty: args.tty,
        }
    };
    let manner = Manner {
        streams,
        remove: args.rm,
        lifetime: Lifetime::Detached,
    };
    let launch = plan(&args.image, &args.vm, manner, &context, ui)?;
    if args.vm.dry_run {
        ui.print_plan(&context.podman, &launch);
        return Ok(ExitCode::SUCCESS);
    }
    let signals = SignalSource::install().map_err(HostError::io("receive signals"))?;
    let mut started = launch.start(&context.podman, &context.dirs)?;
    let mut watcher = Watcher::new(&started.dir, signals).map_err(HostError::io("watch the VM"))?;
    if args.detach {
        detached(&mut watcher, started, ui)
    } else {
        let result = attached(&mut watcher, &mut started, args.vm.timeout, console, ui);
        let finished = started.finish();
        let code = result?;
        finished?;
        Ok(code)
    }
}

/// Returns as soon as QEMU runs; what cannot even come so far is an error here, and leaves nothing.
fn detached(watcher: &mut Watcher, mut started: Started, ui: &Ui) -> Result<ExitCode, HostError> {
    match watcher.wait(Target::Phase(Phase::Qemu), None, &mut |_| {}) {
        Ok(status) => {
            ui.warnings(&status);
            ui.result(&started.dir.container_id().unwrap_or_default());
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            started.discard()?;
            Err(error)
        }
    }
}

/// Stays with the VM until it ends. The first signal shuts it down, the second ends it.
fn attached(
    watcher: &mut Watcher,
    started: &mut Started,
    timeout: Timeout,
    console: bool,
    ui: &Ui,
) -> Result<ExitCode, HostError> {
    let mut progress = ui.progress(!console);
    let ready = watcher.wait(
        Target::Phase(Phase::Ready),
        Some(timeout.duration()),
        &mut |status| progress.show(status),
    );
    progress.finish();
    match ready {
        Ok(status) => {
            ui.warnings(&status);
            ui.notice(&format!(
                "ready; `bcvk ephemeral ssh {}` logs in, Ctrl-C shuts down",
                started.name()
            ));
        }
        Err(HostError::Interrupted { signal }) => return interrupted(watcher, started, signal),
        Err(error) => {
            started.end()?;
            return Err(error);
        }
    }
    match watcher.wait(Target::End, None, &mut |_| {}) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(HostError::Interrupted { signal }) => interrupted(watcher, started, signal),
        Err(error) => Err(error),
    }
}

fn interrupted(
    watcher: &mut Watcher,
    started: &mut Started,
    signal: i32,
) -> Result<ExitCode, HostError> {
    started.ask_to_stop()?;
    loop {
        match watcher.next(None) {
            Some(WatchEvent::Signal(_)) => started.end()?,
            Some(WatchEvent::SupervisorEnded) | None => {
                return Err(HostError::Interrupted { signal });
            }
            Some(WatchEvent::Status(_) | WatchEvent::Session(_)) => {}
        }
    }
}
