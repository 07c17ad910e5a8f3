//! `bcvk ephemeral wait`.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::status::Phase;
use bcvk_host::podman::Podman;
use bcvk_host::{
    LAST_WORD, SessionEnd, Target, Tool, VmDir, VmEvent, WatchError, Watcher, find_tool,
};

use super::find::{self, Found};
use super::guest::GuestCommand;
use super::ready::{await_ready, not_ready};
use crate::cli::{Until, Wait};
use crate::error::{CommandError, RequestError};
use crate::ui::Ui;

/// Limit for a container that podman calls running to take its supervisor's lock, and the interval
/// between two looks. It takes milliseconds, and until then there is nothing to wait on.
const BEGIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// Exit code of [`SCRIPT`] for a unit that will not become active by itself.
const NOT_ACTIVE: i32 = 3;
/// Exit code of `timeout(1)`.
const TIMED_OUT: i32 = 124;

/// Waits in the guest for the unit `$1`. No program of systemd's does: `systemctl start` waits for
/// a job, but makes one where there is none, and so starts what the boot would not; `is-active` has
/// no `--wait` in 252 or 257. So this looks, often enough for a person and seldom enough for an
/// emulated processor. Failed units that systemd will restart are `activating`.
const SCRIPT: &str = r#"
while :; do
    case "$(systemctl show --property=LoadState,ActiveState -- "$1" | tr '\n' ' ')" in
    *ActiveState=active* | *ActiveState=reloading*) exit 0 ;;
    *ActiveState=failed*) echo failed; exit 3 ;;
    *LoadState=not-found*) echo 'not there'; exit 3 ;;
    *LoadState=masked*) echo masked; exit 3 ;;
    *LoadState=bad-setting* | *LoadState=error*) echo 'not valid'; exit 3 ;;
    esac
    sleep 0.2
done
"#;

/// One wait: its condition and its deadline.
struct Waiting<'a> {
    args: &'a Wait,
    deadline: Instant,
}

pub(super) fn wait(args: &Wait, ui: &Ui) -> Result<ExitCode, CommandError> {
    let waiting = Waiting {
        args,
        deadline: Instant::now() + args.timeout.duration(),
    };
    let mut vm = find::any(&args.vm.name)?;
    if !vm.running {
        vm.running = begins(&vm.dir)?;
    }
    match &args.until {
        Until::Stopped => waiting.stopped(&vm)?,
        Until::Ready => {
            waiting.ready(&vm, ui)?;
        }
        Until::Unit(unit) => {
            if vm.spec.ssh.is_none() {
                return Err(RequestError::NoSsh {
                    name: args.vm.name.clone(),
                }
                .into());
            }
            let mut watcher = waiting.ready(&vm, ui)?;
            waiting.unit(&vm, unit, &mut watcher)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns true if a VM without a supervisor gets one: `podman start` returns before the supervisor
/// has begun.
fn begins(dir: &VmDir) -> Result<bool, CommandError> {
    let podman = Podman::new(find_tool(Tool::Podman)?);
    let Some(id) = dir.container_id() else {
        return Ok(false);
    };
    let deadline = Instant::now() + BEGIN;
    while podman.find(&id)?.is_some_and(|c| c.is_running()) && Instant::now() < deadline {
        if dir.shared().supervisor_lives() {
            return Ok(true);
        }
        thread::sleep(LOOK);
    }
    Ok(dir.shared().supervisor_lives())
}

impl Waiting<'_> {
    /// Waits until the VM is ready.
    fn ready(&self, vm: &Found, ui: &Ui) -> Result<Watcher, CommandError> {
        if !vm.running {
            return Err(self.ended_before(vm, "it was ready").into());
        }
        let mut watcher = Watcher::open(&vm.dir)?;
        // A VM that is ready already has no progress to show.
        let progress = ui.progress(!is_ready(&vm.dir));
        let ready = await_ready(
            &vm.dir,
            &mut watcher,
            self.left(),
            progress,
            &mut |_| {},
            ui,
        );
        match ready {
            Ok(_) => Ok(watcher),
            Err(WatchError::Vm(failure)) => Err(RequestError::EndedBefore {
                name: self.args.vm.name.clone(),
                awaited: "it was ready".to_owned(),
                failure: Some(failure),
            }
            .into()),
            Err(WatchError::SupervisorVanished { .. } | WatchError::Stopped) => {
                Err(self.ended_before(vm, "it was ready").into())
            }
            Err(other) => Err(not_ready(other, &self.args.vm.name, self.args.timeout)),
        }
    }

    /// Waits until the VM and its container have ended, however they do.
    fn stopped(&self, vm: &Found) -> Result<(), CommandError> {
        let id = vm.dir.container_id();
        let mut watcher = Watcher::open(&vm.dir)?;
        let ended = watcher.wait(Target::End, Some(self.left()), &mut |_| {});
        match ended {
            Err(error @ WatchError::Interrupted { .. }) => return Err(error.into()),
            Err(WatchError::ReadyTimeout { .. }) => {
                return Err(self.timeout("had not ended".to_owned()).into());
            }
            Ok(_)
            | Err(
                WatchError::Vm(_)
                | WatchError::SupervisorNotStarted { .. }
                | WatchError::SupervisorVanished { .. }
                | WatchError::Stopped
                | WatchError::Detached,
            ) => {}
        }
        let Some(id) = id else { return Ok(()) };
        // podman learns of the VM's end a little later; until then, it would not remove the container.
        let podman = Podman::new(find_tool(Tool::Podman)?);
        let gone = podman
            .await_end(&id)
            .map_err(CommandError::io("run podman wait"))?;
        let gone = watcher.watch_session(gone)?;
        let result = watcher.follow(Some(self.deadline), |event, _| match event {
            VmEvent::Session(_) => ControlFlow::Break(Ok(())),
            VmEvent::Signal(signal) => {
                ControlFlow::Break(Err(WatchError::Interrupted { signal }.into()))
            }
            VmEvent::Deadline => ControlFlow::Break(Err(self
                .timeout("had a container that had not ended".to_owned())
                .into())),
            VmEvent::Status(_) | VmEvent::SupervisorEnded => ControlFlow::Continue(()),
        });
        if result.is_err() {
            gone.end();
        }
        result
    }

    /// Waits until a unit in a VM that is ready is active.
    fn unit(&self, vm: &Found, unit: &str, watcher: &mut Watcher) -> Result<(), CommandError> {
        // The wait is bounded in the guest too, so that no process stays there when this one is
        // interrupted.
        let seconds = format!("{:.3}", self.left().as_secs_f64().max(0.001));
        let words = ["timeout", &seconds, "sh", "-c", SCRIPT, "sh", unit];
        let command = GuestCommand::start(vm.address(), &words, Vec::new(), watcher)?;
        let (end, stdout, stderr) = command.wait(watcher, Some(self.deadline), LAST_WORD);
        match end {
            SessionEnd::Exited(0) => Ok(()),
            SessionEnd::Exited(NOT_ACTIVE) => Err(RequestError::UnitNotActive {
                name: self.args.vm.name.clone(),
                unit: unit.to_owned(),
                state: String::from_utf8_lossy(&stdout).trim().to_owned(),
            }
            .into()),
            SessionEnd::Exited(TIMED_OUT) | SessionEnd::Deadline => Err(self
                .timeout(format!("did not have unit {unit} active"))
                .into()),
            SessionEnd::VmEnded(_) => Err(self
                .ended_before(vm, &format!("unit {unit} was active"))
                .into()),
            SessionEnd::Signal(signal) => Err(WatchError::Interrupted { signal }.into()),
            SessionEnd::Exited(_) | SessionEnd::Lost => Err(RequestError::InGuest {
                name: self.args.vm.name.clone(),
                action: "ask for the unit",
                stderr,
            }
            .into()),
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn timeout(&self, state: String) -> RequestError {
        RequestError::Timeout {
            name: self.args.vm.name.clone(),
            state,
            timeout: self.args.timeout,
            phase: None,
            starting: Vec::new(),
            console_tail: Vec::new(),
        }
    }

    fn ended_before(&self, vm: &Found, awaited: &str) -> RequestError {
        let status = vm.dir.shared().status().ok().flatten();
        RequestError::EndedBefore {
            name: self.args.vm.name.clone(),
            awaited: awaited.to_owned(),
            failure: status.and_then(|status| status.failure).map(Box::new),
        }
    }
}

fn is_ready(dir: &VmDir) -> bool {
    let status = dir.shared().status().ok().flatten();
    status.is_some_and(|status| status.phase == Phase::Ready)
}
