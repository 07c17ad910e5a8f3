//! `bcvk ephemeral check`.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bcvk_contract::exit;
use bcvk_contract::spec::{VmSpec, Warm};
use bcvk_contract::status::Status;
use bcvk_host::health::{Facts, Finding, MAX_ANSWER_BYTES, QUESTION, SETTLED, judge, slower};
use bcvk_host::{BootKind, BootTime, BootTimes, LAST_WORD, SessionEnd, WatchError, Watcher};

use super::base_directory;
use super::guest::{AnswerBuffer, GuestCommand};
use super::result_file::ResultFile;
use super::run_ssh::{BootedFor, TemporaryVm, with_temporary_vm};
use crate::cli::Check;
use crate::error::{CommandError, RequestError, UsageError};
use crate::ui::{self, Judged, Notice, Ui, Verdict};

/// Limit for the guest to say how it is, as for the question of `boot-chart`.
const QUESTION_LIMIT: Duration = Duration::from_secs(300);

pub(super) fn check(mut args: Check, ui: &Ui) -> Result<ExitCode, CommandError> {
    let junit = args.junit.as_deref();
    let junit = junit
        .map(|path| ResultFile::at("report", path))
        .transpose()?;
    if args.vm.warm == Warm::Require {
        return Err(UsageError::NotResumable("a check is of a boot").into());
    }
    args.vm.warm = Warm::Off;
    let args = &args;
    let booted = BootedFor {
        verb: "check",
        session: None,
        keep: args.keep.keep_on_failure,
    };
    with_temporary_vm(booted, &args.image, &args.vm, ui, |vm| {
        examine(vm, args, junit.as_ref(), ui)
    })
}

/// Looks at a VM that is ready, and tells what was found.
fn examine(
    vm: &mut TemporaryVm<'_>,
    args: &Check,
    junit: Option<&ResultFile>,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let spec = vm.started.dir.read_spec();
    let spec = spec.map_err(CommandError::io("read what the VM was started with"))?;
    let (ready, last) = times(&spec, &vm.status);
    ui.notice(&Notice::Settling { limit: args.settle });
    let facts = ask(vm, args, &spec)?;
    let mut findings = judge(&facts, args.settle.duration());
    findings.extend(slower_than_last(ready, last));
    findings.sort_by_key(|finding| finding.kind);
    let verdict = Verdict {
        image: (&spec.image.id, &spec.image.reference),
        state: &facts.state,
        ready,
        last,
        findings: Judged::all(findings, &args.allow),
        unseen: &facts.unseen,
    };
    for pattern in verdict.unused(&args.allow) {
        let pattern = &pattern.to_string();
        ui.notice(&Notice::UnusedAllow { pattern });
    }
    if args.json {
        ui.json(&verdict.description())?;
    } else {
        ui::print(&verdict.text());
    }
    if let Some(junit) = junit {
        junit.write(&verdict.junit())?;
    }
    if args.github || env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        annotate(&verdict)?;
    }
    Ok(if verdict.is_healthy() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(exit::FAILED)
    })
}

/// Returns the time until the VM was ready, and that of the last VM like it; remembers the former.
fn times(spec: &VmSpec, status: &Status) -> (Option<Duration>, Option<Duration>) {
    let cache = base_directory("XDG_CACHE_HOME", ".cache");
    let mut times = BootTimes::read_checks(cache.as_deref());
    let kind = BootKind::by_name(spec, status);
    let last = times.last(&kind).map(BootTime::total);
    times.remember(kind, status);
    let ready = BootTime::of(status);
    (ready.as_ref().map(BootTime::total), last)
}

fn slower_than_last(ready: Option<Duration>, last: Option<Duration>) -> Option<Finding> {
    slower(ready?, last?)
}

/// Waits until the system has settled, or has had its time, and asks how it is.
fn ask(vm: &mut TemporaryVm<'_>, args: &Check, spec: &VmSpec) -> Result<Facts, CommandError> {
    let name = spec.name.as_str();
    let address = (&vm.started.dir, name);
    let words = ["sh", "-c", SETTLED];
    let settled = GuestCommand::start(address, &words, io::sink(), vm.watcher)?;
    let deadline = Instant::now() + args.settle.duration();
    // A guest that cannot say is asked all the same.
    let (end, _, _) = settled.wait(vm.watcher, Some(deadline), LAST_WORD);
    expect_vm(end, name, vm.watcher)?;
    let words = ["sh", "-c", QUESTION];
    let buffer = AnswerBuffer::new(MAX_ANSWER_BYTES);
    let command = GuestCommand::start(address, &words, buffer, vm.watcher)?;
    let deadline = Instant::now() + QUESTION_LIMIT;
    let (end, answer, stderr) = command.wait(vm.watcher, Some(deadline), LAST_WORD);
    expect_vm(end, name, vm.watcher)?;
    let facts = Facts::parse(&String::from_utf8_lossy(&answer.text), answer.is_full());
    if facts.is_silent() {
        return Err(RequestError::InGuest {
            name: name.to_owned(),
            action: "ask how the system is",
            stderr,
        }
        .into());
    }
    Ok(facts)
}

/// Returns an error if the guest cannot be asked any more, or its user does not want to know.
fn expect_vm(end: SessionEnd, name: &str, watcher: &Watcher) -> Result<(), CommandError> {
    match end {
        SessionEnd::Signal(signal) => Err(WatchError::Interrupted { signal }.into()),
        SessionEnd::VmEnded(_) => Err(RequestError::EndedBefore {
            name: name.to_owned(),
            awaited: "it was checked".to_owned(),
            failure: watcher.failure().map(Box::new),
        }
        .into()),
        SessionEnd::Exited(_) | SessionEnd::Lost | SessionEnd::Deadline => Ok(()),
    }
}

/// Tells GitHub.
fn annotate(verdict: &Verdict<'_>) -> Result<(), CommandError> {
    ui::say(&verdict.annotations());
    let Some(file) = env::var_os("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty()) else {
        return Ok(());
    };
    let append = || {
        let mut file = OpenOptions::new().append(true).create(true).open(file)?;
        file.write_all(verdict.step_summary().as_bytes())
    };
    append().map_err(CommandError::io("write the summary of the workflow's step"))
}
