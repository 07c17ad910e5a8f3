//! Steps that `run` and `run-ssh` have in common: plan, start, watch.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use bcvk_contract::exit;
use bcvk_host::{SignalSource, Started, Watcher};

use super::plan::{RunMode, plan};
use super::{Context, manage, warm};
use crate::cli::VmOptions;
use crate::error::CommandError;
use crate::ui::{Progress, Ui};

/// Outcome of a command line that may start a VM.
pub(super) enum StartOutcome {
    /// A VM, and the progress that has been shown since before it was there.
    Vm(Started, Watcher, Progress),
    /// All that was asked for, with this result.
    Done(ExitCode),
}

/// Starts a VM of `image` and watches it, unless something else was asked for. Its progress is shown
/// if `shown`.
///
/// Signals are taken over before anything is made, so that none can keep it from being undone.
pub(super) fn start(
    image: &str,
    options: &VmOptions,
    mode: RunMode,
    shown: bool,
    ui: &Ui,
) -> Result<StartOutcome, CommandError> {
    let context = Context::open()?;
    let mut launch = plan(image, options, mode, &context, ui)?;
    if options.dry_run {
        ui.print_plan(&context.podman, &launch);
        return Ok(StartOutcome::Done(ExitCode::SUCCESS));
    }
    if options.debug {
        launch.interactive = true;
        launch.tty = io::stdin().is_terminal();
        launch.remove = true;
        let status = launch.debug(&context.podman, &context.dirs)?;
        return Ok(StartOutcome::Done(exit::code_of(status).into()));
    }
    warm::choose(&mut launch, options.warm)?;
    let signals = SignalSource::install().map_err(CommandError::io("receive signals"))?;
    if options.replace {
        manage::replace(&context, &launch.spec.name)?;
    }
    let progress = ui.progress(shown);
    let mut started = launch.start(&context.podman, &context.dirs)?;
    match watch(&started, signals) {
        Ok(watcher) => Ok(StartOutcome::Vm(started, watcher, progress)),
        Err(error) => {
            drop(progress);
            started.discard()?;
            Err(error)
        }
    }
}

fn watch(started: &Started, signals: SignalSource) -> Result<Watcher, CommandError> {
    let watcher = Watcher::new(&started.dir, signals).map_err(CommandError::io("watch the VM"))?;
    watcher
        .watch_container()
        .map_err(CommandError::io("watch the VM's container"))?;
    Ok(watcher)
}
