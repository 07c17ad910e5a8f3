//! `bcvk ephemeral wait`.

use std::ops::ControlFlow;
use std::process::ExitCode;
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
    for name in &args.vms.names {
        waiting.for_vm(name, ui)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Waiting<'_> {
    fn for_vm(&self, name: &str, ui: &Ui) -> Result<(), CommandError> {
        let mut vm = find::any(name)?;
        if !vm.running {
            vm.running = find::begins(&vm.dir)?;
        }
        match &self.args.until {
            Until::Stopped => self.stopped(&vm),
            Until::Ready => self.ready(&vm, ui).map(drop),
            Until::Unit(unit) => {
                if vm.spec.ssh.is_none() {
                    return Err(RequestError::NoSsh {
                        name: name.to_owned(),
                    }
                    .into());
                }
                let mut watcher = self.ready(&vm, ui)?;
                self.unit(&vm, unit, &mut watcher)
            }
        }
    }

    /// Waits until the VM is ready.
    fn ready(&self, vm: &Found, ui: &Ui) -> Result<Watcher, CommandError> {
        if !vm.running {
            return Err(Self::ended_before(vm, "it was ready").into());
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
                name: vm.spec.name.to_string(),
                awaited: "it was ready".to_owned(),
                failure: Some(failure),
            }
            .into()),
            Err(WatchError::SupervisorVanished { .. } | WatchError::Stopped) => {
                Err(Self::ended_before(vm, "it was ready").into())
            }
            Err(other) => Err(not_ready(other, vm.spec.name.as_str(), self.args.timeout)),
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
                return Err(self.timeout(vm, "had not ended".to_owned()).into());
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
                .timeout(vm, "had a container that had not ended".to_owned())
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
                name: vm.spec.name.to_string(),
                unit: unit.to_owned(),
                state: String::from_utf8_lossy(&stdout).trim().to_owned(),
            }
            .into()),
            SessionEnd::Exited(TIMED_OUT) | SessionEnd::Deadline => Err(self
                .timeout(vm, format!("did not have unit {unit} active"))
                .into()),
            SessionEnd::VmEnded(_) => {
                Err(Self::ended_before(vm, &format!("unit {unit} was active")).into())
            }
            SessionEnd::Signal(signal) => Err(WatchError::Interrupted { signal }.into()),
            SessionEnd::Exited(_) | SessionEnd::Lost => Err(RequestError::InGuest {
                name: vm.spec.name.to_string(),
                action: "ask for the unit",
                stderr,
            }
            .into()),
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn timeout(&self, vm: &Found, state: String) -> RequestError {
        RequestError::Timeout {
            name: vm.spec.name.to_string(),
            state,
            timeout: self.args.timeout,
            phase: None,
            starting: Vec::new(),
            console_tail: Vec::new(),
        }
    }

    fn ended_before(vm: &Found, awaited: &str) -> RequestError {
        let status = vm.dir.shared().status().ok().flatten();
        RequestError::EndedBefore {
            name: vm.spec.name.to_string(),
            awaited: awaited.to_owned(),
            failure: status.and_then(|status| status.failure).map(Box::new),
        }
    }
}

fn is_ready(dir: &VmDir) -> bool {
    let status = dir.shared().status().ok().flatten();
    status.is_some_and(|status| status.phase == Phase::Ready)
}
