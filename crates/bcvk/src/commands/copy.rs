//! `bcvk ephemeral cp`.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;

use bcvk_host::{Tool, find_tool, ssh};

use super::find;
use super::ssh::join_boot;
use crate::cli::{Cp, Place};
use crate::error::{CommandError, RequestError, UsageError};
use crate::ui::Ui;

pub(super) fn cp(args: &Cp, ui: &Ui) -> Result<ExitCode, CommandError> {
    let name = match (&args.from, &args.to) {
        (Place::InVm { name, .. }, Place::Here(_)) | (Place::Here(_), Place::InVm { name, .. }) => {
            name
        }
        (Place::Here(_), Place::Here(_)) => return Err(UsageError::CopyWithoutVm.into()),
        (Place::InVm { .. }, Place::InVm { .. }) => return Err(UsageError::CopyBetweenVms.into()),
    };
    let program = find_tool(Tool::Scp)?;
    let vm = find::running(name)?;
    if vm.spec.ssh.is_none() {
        return Err(RequestError::NoSsh { name: name.clone() }.into());
    }
    join_boot(&vm.dir, name, ui)?;
    let (dir, host) = vm.address();
    let word = |place: &Place| match place {
        Place::Here(path) => ssh::here(path),
        Place::InVm { path, .. } => ssh::there(host, Path::new(path)),
    };
    let [from, to] = [&args.from, &args.to].map(word);
    let error = ssh::copy_command(&program, dir, &from, &to).exec();
    Err(CommandError::io("run scp")(error))
}
