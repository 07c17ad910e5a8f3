//! `stop`, `rm` and `rm-all`.

use std::process::ExitCode;

use bcvk_host::podman::Container;

use super::Context;
use crate::cli::{Rm, RmAll, Stop};
use crate::error::{CommandError, RequestError};
use crate::ui::{Notice, Ui};

pub(super) fn stop(args: &Stop, ui: &Ui) -> Result<ExitCode, CommandError> {
    let context = Context::open()?;
    let vms = find_all(&context, &args.vms.names)?;
    for (name, vm) in &vms {
        // The directory may go with the VM.
        let dir = vm.vm_dir(&context.dirs);
        let warnings = || {
            let status = dir.as_ref()?.shared().status().ok().flatten();
            Some(status?.warnings)
        };
        let known = warnings().unwrap_or_default().len();
        context.podman.stop(&vm.id)?;
        let warnings = warnings().unwrap_or_default();
        ui.warnings(warnings.get(known..).unwrap_or_default());
        crate::ui::print(&format!("{name}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn rm(args: &Rm) -> Result<ExitCode, CommandError> {
    let context = Context::open()?;
    let vms = find_all(&context, &args.vms.names)?;
    if !args.force
        && let Some((name, _)) = vms.iter().find(|(_, vm)| vm.is_running())
    {
        return Err(RequestError::StillRunning {
            name: (*name).clone(),
        }
        .into());
    }
    for (name, vm) in &vms {
        remove(&context, vm)?;
        crate::ui::print(&format!("{name}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn rm_all(args: &RmAll, ui: &Ui) -> Result<ExitCode, CommandError> {
    let context = Context::open()?;
    let vms = context.podman.vms(&context.dirs)?;
    if vms.is_empty() {
        ui.notice(&Notice::NoVmToRemove);
        return Ok(ExitCode::SUCCESS);
    }
    if !args.force {
        let names: Vec<&str> = vms.iter().map(Container::name).collect();
        match ui.confirm(&format!("Remove {}?", names.join(", "))) {
            None => return Err(RequestError::NeedsForce.into()),
            Some(false) => return Ok(ExitCode::FAILURE),
            Some(true) => {}
        }
    }
    for vm in &vms {
        remove(&context, vm)?;
        crate::ui::print(&format!("{}\n", vm.name()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Finds all of them or is an error: nothing is done to some while others do not exist.
fn find_all<'a>(
    context: &Context,
    names: &'a [String],
) -> Result<Vec<(&'a String, Container)>, CommandError> {
    names
        .iter()
        .map(|name| {
            let found = context.podman.find(name)?;
            let vm = found.ok_or_else(|| RequestError::NoSuchVm { name: name.clone() })?;
            let vm = context.podman.only_vms(vec![vm], &context.dirs)?.pop();
            let vm = vm.ok_or_else(|| RequestError::NotAVm { name: name.clone() })?;
            Ok((name, vm))
        })
        .collect()
}

fn remove(context: &Context, vm: &Container) -> Result<(), CommandError> {
    context.podman.remove(&vm.id)?;
    if let Some(dir) = vm.vm_dir(&context.dirs) {
        dir.remove_if_unused()
            .map_err(CommandError::io("remove the VM directory"))?;
    }
    Ok(())
}
