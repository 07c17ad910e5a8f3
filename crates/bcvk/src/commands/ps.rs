//! `bcvk ephemeral ps`.

use std::process::ExitCode;

use bcvk_contract::spec::VmSpec;
use bcvk_contract::status::{Phase, Status, Timestamp};
use bcvk_host::VmDir;
use bcvk_host::podman::Container;
use serde::Serialize;

use super::Context;
use crate::cli::{Format, Ps};
use crate::error::CommandError;
use crate::ui::{self, Ui};

/// One VM, with podman's keys and ours.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub(super) struct Row {
    id: String,
    names: Vec<String>,
    image: String,
    command: Vec<String>,
    created_at: String,
    /// podman's word for the container.
    state: String,
    exit_code: i32,
    vm_state: VmState,
    /// True if it was resumed from a snapshot.
    #[serde(rename = "Resumed")]
    resumed: bool,
    /// Seconds since QEMU started; absent when the VM does not run.
    #[serde(rename = "UptimeSeconds", skip_serializing_if = "Option::is_none")]
    uptime_seconds: Option<u64>,
    #[serde(rename = "MemoryMiB", skip_serializing_if = "Option::is_none")]
    memory_mib: Option<u32>,
    #[serde(rename = "Vcpus", skip_serializing_if = "Option::is_none")]
    vcpus: Option<u32>,
    /// The command that logs in; absent when the VM is not reachable.
    #[serde(rename = "Ssh", skip_serializing_if = "Option::is_none")]
    ssh: Option<String>,
}

/// How far a VM has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(super) enum VmState {
    Booting,
    Ready,
    Stopping,
    Exited,
}

pub(super) fn ps(args: &Ps, ui: &Ui) -> Result<ExitCode, CommandError> {
    let context = Context::open()?;
    let rows: Vec<Row> = context
        .podman
        .vms(&context.dirs)?
        .iter()
        .filter(|vm| args.all || vm.is_running())
        .map(|vm| {
            let dir = vm.vm_id().and_then(|id| context.dirs.by_id(id));
            row(vm, dir.as_ref())
        })
        .collect();
    if args.form.json || args.format == Some(Format::Json) {
        ui.json(&rows)?;
    } else {
        ui::print(&ui::table(
            &["NAME", "IMAGE", "STATE", "UPTIME", "MEMORY", "VCPUS", "SSH"],
            rows.iter().map(Row::cells),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(vm: &Container, dir: Option<&VmDir>) -> Row {
    let spec = dir.and_then(|dir| dir.read_spec().ok());
    let status = dir.and_then(|dir| dir.shared().status().ok().flatten());
    let running = vm.is_running();
    let vm_state = vm_state(running, status.as_ref());
    Row {
        id: vm.id.clone(),
        names: vm.names.clone(),
        image: vm.image.clone(),
        command: vm.command.clone().unwrap_or_default(),
        created_at: vm.created_at.clone(),
        state: vm.state.clone(),
        exit_code: vm.exit_code,
        vm_state,
        resumed: status.as_ref().is_some_and(|status| status.resumed),
        uptime_seconds: status
            .filter(|_| running)
            .and_then(|status| status.began(Phase::Qemu))
            .map(|began| whole_seconds(Timestamp::now().seconds_since(began))),
        memory_mib: spec.as_ref().map(|spec| spec.memory.mib()),
        vcpus: spec.as_ref().map(|spec| spec.vcpus),
        ssh: spec.as_ref().filter(|_| running).and_then(ssh_command),
    }
}

pub(super) fn vm_state(running: bool, status: Option<&Status>) -> VmState {
    if !running {
        return VmState::Exited;
    }
    match status.map(|status| status.phase) {
        Some(Phase::Ready) => VmState::Ready,
        Some(Phase::Stopping | Phase::Exited) => VmState::Stopping,
        _ => VmState::Booting,
    }
}

pub(super) fn ssh_command(spec: &VmSpec) -> Option<String> {
    spec.ssh
        .as_ref()
        .map(|_| format!("bcvk ephemeral ssh {}", spec.name))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative, and saturating"
)]
fn whole_seconds(seconds: f64) -> u64 {
    seconds as u64
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let state = match self.vm_state {
            VmState::Booting => "booting",
            VmState::Ready => "ready",
            VmState::Stopping => "stopping",
            VmState::Exited => "exited",
        };
        let state = match self.vm_state {
            VmState::Exited => format!("{state} ({})", self.exit_code),
            _ if self.resumed => format!("{state} (resumed)"),
            _ => state.to_owned(),
        };
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        vec![
            self.names.first().cloned().unwrap_or_default(),
            self.image.clone(),
            state,
            or_dash(self.uptime_seconds.map(ui::duration)),
            or_dash(self.memory_mib.map(|mib| format!("{mib} MiB"))),
            or_dash(self.vcpus.map(|n| n.to_string())),
            or_dash(self.ssh.clone()),
        ]
    }
}
