//! `bcvk ephemeral logs`.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bcvk_contract::limits::STOP_TIMEOUT_SECONDS;
use bcvk_host::{GuestLog, SessionEnd, VmEvent, Watcher};

use super::find::{self, Found};
use super::guest::GuestCommand;
use super::ssh::join_boot;
use crate::cli::Logs;
use crate::error::{CommandError, RequestError, interrupted};
use crate::ui::{GuestOutput, Ui};

/// Limit for a guest that has ended its sessions to power off: the same as `podman stop` allows.
const POWER_OFF: Duration = Duration::from_secs(STOP_TIMEOUT_SECONDS as u64);

pub(super) fn logs(args: &Logs, ui: &Ui) -> Result<ExitCode, CommandError> {
    if args.journal {
        journal(args, ui)
    } else {
        console(args, ui)
    }
}

fn console(args: &Logs, ui: &Ui) -> Result<ExitCode, CommandError> {
    let vm = find::any(&args.vm.name)?;
    let mut log = GuestLog::console(&vm.dir);
    let mut out = GuestOutput::to(io::stdout());
    let code = if args.follow && vm.running {
        follow(&vm, &mut log, &mut out)?
    } else {
        let length = log.length().map_err(CommandError::io(format!(
            "read the console of VM {}",
            args.vm.name
        )))?;
        // A reader that has gone away (`logs … | head`) is no error.
        let _ = io::copy(&mut log.take(length), &mut out);
        ExitCode::SUCCESS
    };
    // This warns if the start of the log was discarded.
    if let Ok(Some(status)) = vm.dir.shared().status() {
        ui.warnings(&status.warnings);
    }
    Ok(code)
}

fn follow(vm: &Found, log: &mut GuestLog, out: &mut impl Write) -> Result<ExitCode, CommandError> {
    let mut watcher = Watcher::open(&vm.dir)?;
    let code = watcher.follow(Some(Instant::now()), |event, look| {
        let ended = match event {
            // The console's last output is in the log by now.
            VmEvent::SupervisorEnded => true,
            VmEvent::Signal(signal) => {
                return ControlFlow::Break(ExitCode::from(interrupted(signal)));
            }
            VmEvent::Status(_) | VmEvent::Session(_) | VmEvent::Deadline => false,
        };
        if io::copy(log, out).is_err() || ended {
            return ControlFlow::Break(ExitCode::SUCCESS);
        }
        *look = Some(Instant::now() + GuestLog::LOOK);
        ControlFlow::Continue(())
    });
    Ok(code)
}

fn journal(args: &Logs, ui: &Ui) -> Result<ExitCode, CommandError> {
    let vm = find::running(&args.vm.name)?;
    if vm.spec.ssh.is_none() {
        return Err(RequestError::NoSsh {
            name: args.vm.name.clone(),
        }
        .into());
    }
    join_boot(&vm.dir, &args.vm.name, ui)?;
    let mut watcher = Watcher::open(&vm.dir)?;
    let mut words = vec!["journalctl", "-b", "-o", "short-monotonic", "--no-pager"];
    if args.follow {
        // Without `--no-tail`, following shows the last ten lines alone.
        words.extend(["--follow", "--no-tail"]);
    }
    let command = GuestCommand::start(
        vm.address(),
        &words,
        GuestOutput::to(io::stdout()),
        &watcher,
    )?;
    let (end, _, stderr) = command.wait(&mut watcher, None, POWER_OFF);
    match end {
        SessionEnd::Exited(0) => Ok(ExitCode::SUCCESS),
        SessionEnd::VmEnded(_) if args.follow => Ok(ExitCode::SUCCESS),
        SessionEnd::VmEnded(_) => Err(RequestError::EndedBefore {
            name: args.vm.name.clone(),
            awaited: "all of its journal was read".to_owned(),
            failure: watcher.failure().map(Box::new),
        }
        .into()),
        SessionEnd::Signal(signal) => Ok(ExitCode::from(interrupted(signal))),
        SessionEnd::Exited(_) | SessionEnd::Lost | SessionEnd::Deadline => {
            Err(RequestError::InGuest {
                name: args.vm.name.clone(),
                action: "read the journal",
                stderr,
            }
            .into())
        }
    }
}
