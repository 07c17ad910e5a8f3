//! `bcvk ephemeral ssh` and `ssh-config`.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use bcvk_contract::spec::{Login, Timeout};
use bcvk_contract::status::Phase;
use bcvk_host::ssh;
use bcvk_host::{LAST_WORD, Tool, VmDir, Watcher, find_tool};

use super::find::{self, Found};
use super::own_session::exit_code;
use super::ready::{await_ready, not_ready};
use crate::cli::{Ssh, SshConfig, command};
use crate::error::{CommandError, RequestError};
use crate::ui::Ui;

/// Limit for a VM that is still booting to become ready.
const READY_TIMEOUT: Timeout = Timeout::from_secs(300);

pub(super) fn ssh(args: &Ssh, ui: &Ui) -> Result<ExitCode, CommandError> {
    let words = if args.asks_for_help() {
        None
    } else {
        args.sort()
    };
    let Some(words) = words else {
        return Ok(print_help());
    };
    let program = find_tool(Tool::Ssh)?;
    let Found { dir, spec, .. } = find::running(&words.name)?;
    if spec.ssh.is_none() {
        return Err(RequestError::NoSsh { name: words.name }.into());
    }
    join_boot(&dir, &words.name, ui)?;
    let mut ssh = ssh::command(
        &program,
        &dir,
        spec.name.as_str(),
        &words.options,
        &words.command,
    );
    match spec.login() {
        Some(Login::Image) => {}
        Some(Login::Own) | None => return Err(CommandError::io("run ssh")(ssh.exec())),
    }
    let mut watcher = Watcher::open(&dir)?;
    let session = ssh.spawn().map_err(CommandError::io("run ssh"))?;
    let session = watcher.watch_session(session)?;
    let end = watcher.await_session(&session, None, LAST_WORD);
    exit_code(end, &watcher, &dir, ui)
}

pub(super) fn ssh_config(args: &SshConfig) -> Result<ExitCode, CommandError> {
    let Found { dir, spec, .. } = find::running(&args.vm.name)?;
    if spec.ssh.is_none() {
        return Err(RequestError::NoSsh {
            name: args.vm.name.clone(),
        }
        .into());
    }
    let exe = std::env::current_exe().map_err(CommandError::io("find bcvk's own file"))?;
    crate::ui::print(&ssh::config(&spec, &dir, &exe, ssh::Side::Host));
    Ok(ExitCode::SUCCESS)
}

/// Waits for a VM that still boots.
pub(super) fn join_boot(dir: &VmDir, name: &str, ui: &Ui) -> Result<(), CommandError> {
    let now = dir
        .shared()
        .status()
        .map_err(CommandError::io(format!("read the status of VM {name}")))?;
    if now.is_some_and(|status| status.phase == Phase::Ready) {
        return Ok(());
    }
    let mut watcher = Watcher::open(dir)?;
    match await_ready(
        dir,
        &mut watcher,
        READY_TIMEOUT.duration(),
        ui.progress(true),
        &mut |_| {},
        ui,
    ) {
        Ok(_) => Ok(()),
        Err(error) => Err(not_ready(error, name, READY_TIMEOUT)),
    }
}

fn print_help() -> ExitCode {
    let mut root = command();
    let help = root
        .find_subcommand_mut("ephemeral")
        .and_then(|c| c.find_subcommand_mut("ssh"))
        .map(|c| c.render_help().to_string());
    crate::ui::print(&help.unwrap_or_default());
    ExitCode::SUCCESS
}
