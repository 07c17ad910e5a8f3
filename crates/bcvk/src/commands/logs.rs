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
use crate::cli::{Logs, Tail};
use crate::error::{CommandError, RequestError, UsageError, interrupted};
use crate::ui::{GuestOutput, Ui};

/// Limit for a guest that has ended its sessions to power off: the same as `podman stop` allows.
const POWER_OFF: Duration = Duration::from_secs(STOP_TIMEOUT_SECONDS as u64);

pub(super) fn logs(args: &Logs, ui: &Ui) -> Result<ExitCode, CommandError> {
    let names = args.vms.names.as_slice();
    if args.follow && names.len() > 1 {
        return Err(UsageError::FollowSeveral.into());
    }
    for name in names {
        let code = if args.journal {
            journal(name, args, ui)?
        } else {
            console(name, args, ui)?
        };
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn console(name: &str, args: &Logs, ui: &Ui) -> Result<ExitCode, CommandError> {
    let vm = find::any(name)?;
    let mut log = GuestLog::console(&vm.dir);
    let mut out = GuestOutput::to(io::stdout());
    let follows = args.follow && vm.running;
    if !follows || args.tail != Tail::All {
        let failed = || CommandError::io(format!("read the console of VM {name}"));
        let length = log.length().map_err(failed())?;
        let mut now = log.by_ref().take(length);
        // A reader that has gone away (`logs … | head`) is no error.
        match args.tail {
            Tail::All => drop(io::copy(&mut now, &mut out)),
            Tail::Lines(lines) => {
                let mut bytes = Vec::new();
                now.read_to_end(&mut bytes).map_err(failed())?;
                drop(out.write_all(last_lines(&bytes, lines)));
            }
        }
    }
    let code = if follows {
        follow(&vm, &mut log, &mut out)?
    } else {
        ExitCode::SUCCESS
    };
    // This warns if the start of the log was discarded.
    if let Ok(Some(status)) = vm.dir.shared().status() {
        ui.warnings(&status.warnings);
    }
    Ok(code)
}

/// Returns the last lines. The last of them need not have an end.
fn last_lines(text: &[u8], lines: u32) -> &[u8] {
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let starts = ends.map(|(at, _)| at + 1).filter(|at| *at < text.len());
    let starts: Vec<usize> = [0].into_iter().chain(starts).collect();
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    let first = match starts.len().checked_sub(lines) {
        Some(at) => starts.get(at).copied().unwrap_or(text.len()),
        None => 0,
    };
    text.get(first..).unwrap_or_default()
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

fn journal(name: &str, args: &Logs, ui: &Ui) -> Result<ExitCode, CommandError> {
    let vm = find::running(name)?;
    if vm.spec.ssh.is_none() {
        return Err(RequestError::NoSsh {
            name: name.to_owned(),
        }
        .into());
    }
    join_boot(&vm.dir, name, ui)?;
    let mut watcher = Watcher::open(&vm.dir)?;
    let mut words = vec!["journalctl", "-b", "-o", "short-monotonic", "--no-pager"];
    let lines = match args.tail {
        Tail::All => "--lines=all".to_owned(),
        Tail::Lines(lines) => format!("--lines={lines}"),
    };
    // Without a number, following shows the last ten lines alone.
    words.push(&lines);
    if args.follow {
        words.push("--follow");
    }
    let since = args.since.as_ref();
    let since = since.map(|since| format!("--since={}", since.as_str()));
    words.extend(since.as_deref());
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
            name: name.to_owned(),
            awaited: "all of its journal was read".to_owned(),
            failure: watcher.failure().map(Box::new),
        }
        .into()),
        SessionEnd::Signal(signal) => Ok(ExitCode::from(interrupted(signal))),
        SessionEnd::Exited(_) | SessionEnd::Lost | SessionEnd::Deadline => {
            Err(RequestError::InGuest {
                name: name.to_owned(),
                action: "read the journal",
                stderr,
            }
            .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_text() {
        let text = b"a\nb\nc\n".as_slice();
        for (lines, expected) in [
            (0, ""),
            (1, "c\n"),
            (2, "b\nc\n"),
            (3, "a\nb\nc\n"),
            (9, "a\nb\nc\n"),
        ] {
            assert_eq!(last_lines(text, lines), expected.as_bytes(), "{lines}");
        }
        assert_eq!(last_lines(b"a\nlogin: ", 1), b"login: ");
        assert_eq!(last_lines(b"", 3), b"");
    }
}
