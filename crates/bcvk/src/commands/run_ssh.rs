//! `bcvk ephemeral run-ssh`.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use bcvk_vm::host::{
    HostError, LogFollower, Started, Target, Tool, WatchEvent, Watcher, find_tool,
};
use bcvk_vm::spec::Lifetime;
use bcvk_vm::ssh::client;
use bcvk_vm::status::Phase;

use super::plan::Manner;
use super::start::{Begun, start};
use super::warm;
use crate::cli::RunSsh;
use crate::ui::{GuestOutput, Ui};

/// How long ssh may take to notice that its VM is gone.
const SSH_GRACE: Duration = Duration::from_secs(3);

/// How long the supervisor may take to say why its VM has ended.
const LAST_WORD: Duration = Duration::from_millis(500);

/// ssh's own exit code for a connection that failed or was lost (`ssh(1)`, EXIT STATUS).
const SSH_LOST: i32 = 255;

pub(super) fn run_ssh(args: &RunSsh, ui: &Ui) -> Result<ExitCode, HostError> {
    if args.vm.guest.no_ssh_keygen {
        return Err(HostError::SshNeeded);
    }
    if !args.vm.guest.execute.is_empty() {
        return Err(HostError::ExecuteOverSsh);
    }
    find_tool(Tool::Ssh)?;
    let manner = Manner {
        interactive: false,
        tty: false,
        remove: true,
        lifetime: Lifetime::Cli,
    };
    let (mut started, mut watcher) = match start(&args.image, &args.vm, manner, ui)? {
        Begun::Vm(started, watcher) => (started, watcher),
        Begun::Done(code) => return Ok(code),
    };
    let result = session(args, &mut watcher, &started, ui);
    let removed = started.discard();
    let code = result?;
    removed?;
    Ok(code)
}

fn session(
    args: &RunSsh,
    watcher: &mut Watcher,
    started: &Started,
    ui: &Ui,
) -> Result<ExitCode, HostError> {
    let shown = args.vm.shown();
    let mut progress = ui.progress(shown.is_none());
    let log = shown
        .map(|stream| LogFollower::start(started.log(stream), GuestOutput::to(std::io::stderr())));
    let ready = watcher.wait(
        Target::Phase(Phase::Ready),
        Some(args.vm.timeout.duration()),
        &mut |status| progress.show(status),
    );
    progress.finish();
    drop(log);
    let ready = ready?;
    ui.warnings(&ready.warnings);
    warm::learn(started, &ready);

    let mut options = Vec::new();
    if args.tty {
        options.push("-t".to_owned());
    }
    let ssh = client::command(
        &find_tool(Tool::Ssh)?,
        &started.dir,
        started.name(),
        &options,
        &args.command,
    )
    .spawn()
    .map_err(HostError::io("run ssh"))?;
    let pid = ssh.id();
    watcher.watch_session(ssh);
    let status = await_session(watcher, pid)?;
    exit_code(status, watcher, ui)
}

/// Waits for ssh, and sees that it ends when the user or the VM does.
fn await_session(watcher: &mut Watcher, ssh: u32) -> Result<ExitStatus, HostError> {
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
                end_process(ssh);
            }
            Some(WatchEvent::SupervisorEnded) => deadline = Some(Instant::now() + SSH_GRACE),
            Some(WatchEvent::Status(_)) => {}
            None => {
                end_process(ssh);
                deadline = None;
            }
        }
    }
}

pub(super) fn end_process(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // One that has ended already is what was wanted.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
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
            ui.notice("the VM has shut down");
        }
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}
