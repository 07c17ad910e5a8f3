//! `start`, `stop`, `rm` and `rm-all`.

use std::process::ExitCode;

use bcvk_contract::spec::VmName;
use bcvk_host::podman::Container;

use super::{Context, find};
use crate::cli::{Rm, RmAll, Start, Stop};
use crate::error::{CommandError, RequestError};
use crate::ui::{Notice, Ui};

pub(super) fn stop(args: &Stop, ui: &Ui) -> Result<ExitCode, CommandError> {
    let context = Context::open()?;
    let vms = if args.all {
        let mut all = all(&context)?;
        all.retain(|(_, vm)| vm.is_running());
        all
    } else {
        find_all(&context, &args.names, args.ignore)?
    };
    for (name, vm) in &vms {
        // The directory may go with the VM.
        let dir = vm.vm_dir(&context.dirs);
        let warnings = || {
            let status = dir.as_ref()?.shared().status().ok().flatten();
            Some(status?.warnings)
        };
        let known = warnings().unwrap_or_default().len();
        context.podman.stop(&vm.id, args.time)?;
        let warnings = warnings().unwrap_or_default();
        ui.warnings(warnings.get(known..).unwrap_or_default());
        crate::ui::print(&format!("{name}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn start(args: &Start) -> Result<ExitCode, CommandError> {
    let context = Context::open()?;
    for (name, vm) in find_all(&context, &args.vms.names, false)? {
        context.podman.start(&vm.id)?;
        // podman returns before the VM's supervisor has begun, and whoever logs in next looks for that.
        let dir = vm.vm_dir(&context.dirs);
        let dir = dir.ok_or_else(|| RequestError::NoSuchVm { name: name.clone() })?;
        if !find::begins(&dir)? {
            let status = dir.shared().status().ok().flatten();
            return Err(RequestError::EndedBefore {
                name,
                awaited: "it had begun to boot".to_owned(),
                failure: status.and_then(|status| status.failure).map(Box::new),
            }
            .into());
        }
        crate::ui::print(&format!("{name}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn rm(args: &Rm) -> Result<ExitCode, CommandError> {
    let context = Context::open()?;
    let vms = if args.all {
        all(&context)?
    } else {
        find_all(&context, &args.names, args.force || args.ignore)?
    };
    if !args.force
        && let Some((name, _)) = vms.iter().find(|(_, vm)| vm.is_running())
    {
        return Err(RequestError::StillRunning { name: name.clone() }.into());
    }
    for (name, vm) in &vms {
        remove(&context, vm)?;
        crate::ui::print(&format!("{name}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes the VM with this name, if there is one, to make place for another.
pub(super) fn replace(context: &Context, name: &VmName) -> Result<(), CommandError> {
    let name = name.as_str();
    // An ID that begins like the name is no name.
    let is_named = |vm: &Container| vm.names.iter().any(|known| known == name);
    match context.podman.find(name)?.filter(is_named) {
        Some(found) => remove(context, &only_vm(context, found, name)?),
        None => Ok(()),
    }
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

/// Returns all VMs with their names.
fn all(context: &Context) -> Result<Vec<(String, Container)>, CommandError> {
    let vms = context.podman.vms(&context.dirs)?.into_iter();
    Ok(vms.map(|vm| (vm.name().to_owned(), vm)).collect())
}

/// Finds all of them or is an error: nothing is done to some while others do not exist. With
/// `ignore`, those that do not exist are left out.
fn find_all(
    context: &Context,
    names: &[String],
    ignore: bool,
) -> Result<Vec<(String, Container)>, CommandError> {
    let mut vms = Vec::new();
    for name in names {
        match context.podman.find(name)? {
            Some(found) => vms.push((name.clone(), only_vm(context, found, name)?)),
            None if ignore => {}
            None => return Err(RequestError::NoSuchVm { name: name.clone() }.into()),
        }
    }
    Ok(vms)
}

/// Returns the container, which has to be a VM's.
fn only_vm(context: &Context, found: Container, name: &str) -> Result<Container, CommandError> {
    let vm = context.podman.only_vms(vec![found], &context.dirs)?.pop();
    let not_a_vm = || RequestError::NotAVm {
        name: name.to_owned(),
    };
    Ok(vm.ok_or_else(not_a_vm)?)
}

fn remove(context: &Context, vm: &Container) -> Result<(), CommandError> {
    context.podman.remove(&vm.id)?;
    if let Some(dir) = vm.vm_dir(&context.dirs) {
        dir.remove_if_unused()
            .map_err(CommandError::io("remove the VM directory"))?;
    }
    Ok(())
}
