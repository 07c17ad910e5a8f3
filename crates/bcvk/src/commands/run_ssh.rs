//! `bcvk ephemeral run-ssh`.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bcvk_vm::host::{
    HostError, LogFollower, Session, Started, Tool, WatchEvent, Watcher, find_tool,
};
use bcvk_vm::spec::{Lifetime, Purpose};
use bcvk_vm::ssh::client;
use bcvk_vm::status::Status;

use super::plan::Manner;
use super::ready::await_ready;
use super::start::{Begun, start};
use super::warm;
use crate::cli::{Output, RunSsh, VmOptions};
use crate::ui::{GuestOutput, Notice, Progress, Ui};

/// How long ssh may take to notice that its VM is gone.
const SSH_GRACE: Duration = Duration::from_secs(3);

/// How long the supervisor may take to say why its VM has ended.
const LAST_WORD: Duration = Duration::from_millis(500);

/// ssh's own exit code for a connection that failed or was lost (`ssh(1)`, EXIT STATUS).
const SSH_LOST: i32 = 255;

pub(super) fn run_ssh(args: &RunSsh, ui: &Ui) -> Result<ExitCode, HostError> {
    lend("run-ssh", &args.image, &args.vm, ui, |vm| {
        vm.session(args.tty, &args.command, Stdio::inherit(), ui)
    })
}

/// A VM that is ready and belongs to this command.
pub(super) struct Lent<'a> {
    pub(super) started: &'a Started,
    pub(super) watcher: &'a mut Watcher,
    pub(super) status: Status,
}

/// Boots a VM for `verb`, lets `then` have it once it is ready, and removes it, however that ends.
pub(super) fn lend(
    verb: &'static str,
    image: &str,
    options: &VmOptions,
    ui: &Ui,
    then: impl FnOnce(&mut Lent<'_>) -> Result<ExitCode, HostError>,
) -> Result<ExitCode, HostError> {
    if options.guest.no_ssh_keygen {
        return Err(HostError::SshNeeded { verb });
    }
    match options.guest.purpose() {
        Purpose::Login | Purpose::Boot => {}
        Purpose::Execute => return Err(HostError::ExecuteOverSsh { verb }),
    }
    if options.guest.output == Some(Output::Events) {
        return Err(HostError::NoEvents(verb));
    }
    find_tool(Tool::Ssh)?;
    let manner = Manner {
        interactive: false,
        tty: false,
        remove: true,
        lifetime: Lifetime::Cli,
    };
    let shown = options.shown().is_none();
    let begun = start(image, options, manner, shown, ui)?;
    let (mut started, mut watcher, progress) = match begun {
        Begun::Vm(started, watcher, progress) => (started, watcher, progress),
        Begun::Done(code) => return Ok(code),
    };
    let result = booted(options, &mut watcher, &started, progress, ui).and_then(|status| {
        then(&mut Lent {
            started: &started,
            watcher: &mut watcher,
            status,
        })
    });
    let removed = started.discard();
    let code = result?;
    removed?;
    Ok(code)
}

fn booted(
    options: &VmOptions,
    watcher: &mut Watcher,
    started: &Started,
    progress: Progress,
    ui: &Ui,
) -> Result<Status, HostError> {
    let shown = options.shown();
    let log = shown
        .map(|stream| LogFollower::start(started.log(stream), GuestOutput::to(std::io::stderr())));
    let ready = await_ready(
        &started.dir,
        watcher,
        options.timeout.duration(),
        progress,
        ui,
    );
    drop(log);
    let ready = ready?;
    ui.warnings(&ready.warnings);
    warm::learn(started, &ready);
    Ok(ready)
}

impl Lent<'_> {
    /// Runs `command` in it, or a shell; returns its exit code.
    pub(super) fn session(
        &mut self,
        tty: bool,
        command: &[String],
        stdout: Stdio,
        ui: &Ui,
    ) -> Result<ExitCode, HostError> {
        let mut options = Vec::new();
        if tty {
            options.push("-t".to_owned());
        }
        let ssh = client::command(
            &find_tool(Tool::Ssh)?,
            &self.started.dir,
            self.started.name(),
            &options,
            command,
        )
        .stdout(stdout)
        .spawn()
        .map_err(HostError::io("run ssh"))?;
        let ssh = self.watcher.watch_session(ssh)?;
        let status = await_session(self.watcher, &ssh)?;
        exit_code(status, self.watcher, ui)
    }
}

/// Waits for ssh, and sees that it ends when the user or the VM does.
fn await_session(watcher: &mut Watcher, ssh: &Session) -> Result<ExitStatus, HostError> {
    let mut interrupted = None;
    let mut deadline = None;
    loop {
        match watcher.next(deadline) {
            Some(WatchEvent::Session(status)) => {
                return match interrupted {
                    Some(signal) => Err(HostError::Interrupted { signal }),
                    None => Ok(status),
                };
            }
            Some(WatchEvent::Signal(signal)) => {
                interrupted.get_or_insert(signal);
                ssh.end();
            }
            Some(WatchEvent::SupervisorEnded) => deadline = Some(Instant::now() + SSH_GRACE),
            Some(WatchEvent::Status(_)) => {}
            None => {
                ssh.end();
                deadline = None;
            }
        }
    }
}

/// The session's exit code; a lost connection is explained if the VM knows why.
fn exit_code(status: ExitStatus, watcher: &mut Watcher, ui: &Ui) -> Result<ExitCode, HostError> {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    if code == SSH_LOST {
        // ssh sees the end of a VM before the supervisor has said why.
        let deadline = Instant::now() + LAST_WORD;
        while !matches!(
            watcher.next(Some(deadline)),
            Some(WatchEvent::SupervisorEnded) | None
        ) {}
        if watcher.is_over()? {
            ui.notice(&Notice::ShutDownBySession);
        }
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}
