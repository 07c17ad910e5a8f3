//! What `run` and `run-ssh` do in the same way: plan, start, watch.

use bcvk_vm::host::{HostError, SignalSource, Started, Watcher};

use super::Context;
use super::plan::{Manner, plan};
use crate::cli::VmOptions;
use crate::ui::Ui;

/// Starts a VM of `image` and watches it; `None` when only its command lines were to be printed.
///
/// Signals are taken over before anything is made, so that none can keep it from being undone.
pub(super) fn start(
    image: &str,
    options: &VmOptions,
    manner: Manner,
    ui: &Ui,
) -> Result<Option<(Started, Watcher)>, HostError> {
    let context = Context::open()?;
    let launch = plan(image, options, manner, &context, ui)?;
    if options.dry_run {
        ui.print_plan(&context.podman, &launch);
        return Ok(None);
    }
    let signals = SignalSource::install().map_err(HostError::io("receive signals"))?;
    let mut started = launch.start(&context.podman, &context.dirs)?;
    match watch(&started, signals) {
        Ok(watcher) => Ok(Some((started, watcher))),
        Err(error) => {
            started.discard()?;
            Err(error)
        }
    }
}

fn watch(started: &Started, signals: SignalSource) -> Result<Watcher, HostError> {
    let watcher = Watcher::new(&started.dir, signals).map_err(HostError::io("watch the VM"))?;
    watcher
        .watch_container()
        .map_err(HostError::io("watch the VM's container"))?;
    Ok(watcher)
}
