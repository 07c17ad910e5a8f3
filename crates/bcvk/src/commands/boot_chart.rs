//! `bcvk ephemeral boot-chart`.

use std::io;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use bcvk_contract::spec::{Purpose, Reachable, Snapshot, VmSpec};
use bcvk_contract::status::{Phase, Status, Timestamp};
use bcvk_host::timeline::{
    Answer, Asked, Awaited, Host, MAX_ANSWER_BYTES, Place, QUESTION, Span, Timeline,
};
use bcvk_host::{LAST_WORD, SessionEnd, VmDir, WatchError, Watcher};
use serde::Serialize;

use super::find;
use super::guest::{AnswerBuffer, GuestCommand};
use super::own_session::OwnSession;
use super::result_file::ResultFile;
use super::run_ssh::{BootedFor, TemporaryVm, with_temporary_vm};
use crate::cli::BootChart;
use crate::error::{CommandError, RequestError};
use crate::ui::{self, Chart, Ui};

/// Limit for the guest to say when its units started: an emulated guest on a busy machine takes a
/// minute for what others do in a tenth of a second.
const QUESTION_LIMIT: Duration = Duration::from_secs(300);

pub(super) fn boot_chart(args: &BootChart, ui: &Ui) -> Result<ExitCode, CommandError> {
    let command_line = Timestamp::now();
    let to = Destination::of(args)?;
    if let Some(image) = &args.run {
        // Standard output may carry the chart, so the command's output must not get into it.
        let stdout = match to {
            Destination::File(_) => Stdio::inherit,
            _ => || io::stderr().into(),
        };
        let session = OwnSession::new(Vec::new(), &args.command, stdout);
        let session = (!args.command.is_empty()).then_some(session);
        let booted = BootedFor {
            verb: "boot-chart",
            session,
            keep: false,
        };
        return with_temporary_vm(booted, image, &args.options, ui, |vm| {
            of_new_vm(vm, command_line, args, &to, ui)
        });
    }
    let name = args.vm.as_deref().unwrap_or_default();
    let vm = find::running(name)?;
    if vm.spec.ssh.is_none() {
        return Err(RequestError::NoSsh {
            name: name.to_owned(),
        }
        .into());
    }
    let status = vm
        .dir
        .shared()
        .status()
        .map_err(CommandError::io(format!("read the status of VM {name}")))?;
    let phase = status.as_ref().map_or(Phase::Preparing, |s| s.phase);
    let Some(status) = status.filter(|_| phase == Phase::Ready) else {
        let name = name.to_owned();
        return Err(RequestError::NotReady { name, phase }.into());
    };
    let mut watcher = Watcher::open(&vm.dir)?;
    let boot = Boot {
        dir: &vm.dir,
        spec: &vm.spec,
        host: host(&vm.dir, &vm.spec, &status),
    };
    boot.show(&mut watcher, args, &to, ui)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the command, if there is one, in a VM that is ready, and shows the boot.
fn of_new_vm(
    vm: &mut TemporaryVm<'_>,
    command_line: Timestamp,
    args: &BootChart,
    to: &Destination,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let dir = &vm.started.dir;
    let spec = dir
        .read_spec()
        .map_err(CommandError::io("read what the VM was started with"))?;
    let mut host = host(dir, &spec, &vm.status);
    host.command_line = Some(command_line);
    let code = vm.session(ui)?;
    if code.is_some() {
        host.command = Some((args.command.join(" "), Timestamp::now()));
        if vm.watcher.is_over()? {
            return Err(ended(spec.name.as_str(), vm.watcher).into());
        }
    }
    let boot = Boot {
        dir,
        spec: &spec,
        host,
    };
    boot.show(vm.watcher, args, to, ui)?;
    Ok(code.unwrap_or(ExitCode::SUCCESS))
}

/// Collects what the host knows of the boot of a VM.
fn host(dir: &VmDir, spec: &VmSpec, status: &Status) -> Host {
    let is_first = |first| dir.shared().is_first_start(first);
    let first = status.history.first().map(|event| event.at);
    Host {
        command_line: None,
        planned: first
            .filter(|first| is_first(*first))
            .and_then(|_| dir.planned().ok()),
        history: status.history.clone(),
        resumed: status.resumed,
        awaited: match (spec.purpose(), spec.snapshot) {
            (Purpose::Execute, _) => Awaited::Execute,
            (Purpose::Login | Purpose::Boot, Some(Snapshot::Save)) => Awaited::Snapshot,
            (Purpose::Login | Purpose::Boot, _) => match spec.reachable() {
                Reachable::Banner => Awaited::Sshd,
                Reachable::Sessions => Awaited::Sessions,
                Reachable::Answers => Awaited::Answers,
            },
        },
        command: None,
    }
}

/// A VM that is ready, and what is known of its boot.
struct Boot<'a> {
    dir: &'a VmDir,
    spec: &'a VmSpec,
    host: Host,
}

impl Boot<'_> {
    fn show(
        &self,
        watcher: &mut Watcher,
        args: &BootChart,
        to: &Destination,
        ui: &Ui,
    ) -> Result<(), CommandError> {
        let guest = if self.host.resumed {
            None
        } else {
            Some(self.ask(watcher)?)
        };
        let guest = guest.as_ref().map(|(answer, asked)| (answer, *asked));
        let Some(timeline) = Timeline::new(&self.host, guest) else {
            unreachable!("the VM is ready");
        };
        let name = self.spec.name.as_str();
        if args.json {
            return ui.json(&Description::of(self.spec, &timeline));
        }
        let chart = Chart {
            image: &self.spec.image.reference,
            name,
            timeline: &timeline,
            all: args.all,
        };
        match to {
            Destination::Terminal => ui::print(&chart.text(ui::width())),
            Destination::Stdout => ui::print(&chart.svg()),
            Destination::File(file) => file.write(&chart.svg())?,
        }
        Ok(())
    }

    /// Asks the guest when its units started.
    fn ask(&self, watcher: &mut Watcher) -> Result<(Answer, Asked), CommandError> {
        let name = self.spec.name.as_str();
        let sent = Timestamp::now();
        let words = ["sh", "-c", QUESTION];
        let command = GuestCommand::start(
            (self.dir, name),
            &words,
            AnswerBuffer::new(MAX_ANSWER_BYTES),
            watcher,
        )?;
        let deadline = Instant::now() + QUESTION_LIMIT;
        let (end, buffer, stderr) = command.wait(watcher, Some(deadline), LAST_WORD);
        let failed = |stderr| {
            CommandError::from(RequestError::InGuest {
                name: name.to_owned(),
                action: "ask when units started",
                stderr,
            })
        };
        match end {
            SessionEnd::Exited(0) => {
                let answer = Answer::parse(&String::from_utf8_lossy(&buffer.text));
                let at = buffer.first.unwrap_or_else(Timestamp::now);
                if answer.userspace == 0 {
                    return Err(failed("systemd did not say".to_owned()));
                }
                Ok((answer, Asked { sent, heard: at }))
            }
            SessionEnd::Signal(signal) => Err(WatchError::Interrupted { signal }.into()),
            SessionEnd::VmEnded(_) => Err(ended(name, watcher).into()),
            SessionEnd::Deadline => Err(failed(format!(
                "no answer after {} s",
                QUESTION_LIMIT.as_secs()
            ))),
            SessionEnd::Exited(_) if buffer.is_full() => Err(failed("it said too much".to_owned())),
            SessionEnd::Exited(_) | SessionEnd::Lost => Err(failed(stderr)),
        }
    }
}

/// Error for a guest that cannot be asked any more.
fn ended(name: &str, watcher: &Watcher) -> RequestError {
    RequestError::EndedBefore {
        name: name.to_owned(),
        awaited: "it had said when its units started".to_owned(),
        failure: watcher.failure().map(Box::new),
    }
}

/// Destination of the chart.
enum Destination {
    /// The terminal, as text or JSON.
    Terminal,
    /// Standard output, as a picture.
    Stdout,
    File(ResultFile),
}

impl Destination {
    /// Checks the destination before anything is booted for it: one that cannot be written to is an
    /// error.
    fn of(args: &BootChart) -> Result<Self, CommandError> {
        match args.output_file.as_deref() {
            None => Ok(Self::Terminal),
            Some(path) if path == Path::new("-") => Ok(Self::Stdout),
            Some(path) => Ok(Self::File(ResultFile::at("picture", path)?)),
        }
    }
}

/// Description of a boot for programs. The keys are documented in bcvk-ephemeral-boot-chart(8).
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description<'a> {
    name: &'a str,
    image: Image<'a>,
    begin: Timestamp,
    ready: f64,
    end: f64,
    guest_uncertainty: Option<f64>,
    resumed: bool,
    path_known: bool,
    spans: Vec<Entry<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Image<'a> {
    id: &'a str,
    name: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    place: Place,
    name: &'a str,
    from: f64,
    to: f64,
    critical: bool,
    starting: bool,
    failed: bool,
}

impl<'a> Description<'a> {
    fn of(spec: &'a VmSpec, timeline: &'a Timeline) -> Self {
        Self {
            name: spec.name.as_str(),
            image: Image {
                id: &spec.image.id,
                name: &spec.image.reference,
            },
            begin: timeline.begin,
            ready: seconds(timeline.ready),
            end: seconds(timeline.end),
            guest_uncertainty: timeline.uncertainty.map(seconds),
            resumed: timeline.resumed,
            path_known: timeline.path_known,
            spans: timeline.spans.iter().map(Entry::of).collect(),
        }
    }
}

impl<'a> Entry<'a> {
    fn of(span: &'a Span) -> Self {
        Self {
            place: span.place,
            name: &span.name,
            from: seconds(span.from),
            to: seconds(span.to),
            critical: span.critical,
            starting: span.starting,
            failed: span.failed,
        }
    }
}

fn seconds(microseconds: u64) -> f64 {
    Duration::from_micros(microseconds).as_secs_f64()
}
