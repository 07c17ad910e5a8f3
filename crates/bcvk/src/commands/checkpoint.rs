//! `bcvk ephemeral checkpoint` and `reset`.

use std::process::ExitCode;

use bcvk_contract::checkpoint::{Answer, Request};
use bcvk_contract::spec::VmName;

use super::find::{self, Found};
use crate::cli::{Checkpoint, Reset};
use crate::error::{CommandError, RequestError};

pub(super) fn checkpoint(args: &Checkpoint) -> Result<ExitCode, CommandError> {
    let request = Request::Checkpoint {
        name: args.point.clone(),
        replace: args.replace,
    };
    let made = ask(&find::running(&args.vm.name)?, &request)?;
    crate::ui::print(&format!("{made}\n"));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn reset(args: &Reset) -> Result<ExitCode, CommandError> {
    let request = Request::Reset {
        name: args.point.clone(),
    };
    let found = find::running(&args.vm.name)?;
    ask(&found, &request)?;
    crate::ui::print(&format!("{}\n", found.spec.name));
    Ok(ExitCode::SUCCESS)
}

/// Asks a running VM for something; returns the name of the checkpoint that it was done with.
pub(super) fn ask(vm: &Found, request: &Request) -> Result<VmName, CommandError> {
    let name = vm.spec.name.to_string();
    let answer = vm
        .dir
        .shared()
        .ask(request)
        .map_err(CommandError::io(format!("ask VM {name}")))?;
    match answer {
        Some(Answer::Done(checkpoint)) => Ok(checkpoint),
        Some(Answer::Refused(refusal)) => Err(RequestError::Checkpoint {
            name,
            checkpoint: asked_for(request).map(ToString::to_string),
            refusal,
        }
        .into()),
        None => {
            let status = vm.dir.shared().status().ok().flatten();
            Err(RequestError::EndedBefore {
                name,
                awaited: "that was done".to_owned(),
                failure: status.and_then(|status| status.failure).map(Box::new),
            }
            .into())
        }
    }
}

const fn asked_for(request: &Request) -> Option<&VmName> {
    match request {
        Request::Checkpoint { name, .. } | Request::Reset { name } => name.as_ref(),
        Request::Remove { name } => Some(name),
    }
}
