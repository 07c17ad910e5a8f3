//! `bcvk ephemeral ps`.

use std::process::ExitCode;

use bcvk_contract::spec::VmSpec;
use bcvk_contract::status::{Phase, Status, Timestamp};
use bcvk_host::VmDir;
use bcvk_host::podman::Container;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Context;
use super::listing::{self, Entry, shown_id};
use super::port::{self as ports, PublishedTo};
use crate::cli::{Filter, Filtered, Ps, all_fit};
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
    /// Name of the image as the VM's user gave it: podman shows another if the image has several.
    #[serde(skip)]
    reference: String,
    #[serde(skip)]
    image_id: String,
    #[serde(skip)]
    labels: Vec<(String, String)>,
    #[serde(skip)]
    ports: Vec<PublishedTo>,
    /// Unix time at which the container started or, if it has ended, at which it did.
    #[serde(skip)]
    since: i64,
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
    listing::check(&args.listing, &row(&Container::default(), None))?;
    let context = Context::open()?;
    let all = args.all || args.filter.iter().any(Filter::is_of_state);
    let rows: Vec<Row> = context
        .podman
        .vms(&context.dirs)?
        .iter()
        .filter(|vm| all || vm.is_running())
        .map(|vm| {
            let dir = vm.vm_id().and_then(|id| context.dirs.by_id(id));
            row(vm, dir.as_ref())
        })
        .filter(|row| all_fit(&args.filter, row.filtered()))
        .collect();
    listing::show(&rows, &args.listing, ui)?;
    Ok(ExitCode::SUCCESS)
}

fn row(vm: &Container, dir: Option<&VmDir>) -> Row {
    let spec = dir.and_then(|dir| dir.read_spec().ok());
    let status = dir.and_then(|dir| dir.shared().status().ok().flatten());
    let running = vm.is_running();
    let vm_state = vm_state(running, status.as_ref());
    let ports = spec.as_ref().map(|spec| ports::published(vm, spec));
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
        reference: spec.map_or_else(String::new, |spec| spec.image.reference),
        image_id: vm.image_id.clone(),
        labels: vm.labels.clone().unwrap_or_default().into_iter().collect(),
        ports: ports.unwrap_or_default(),
        since: if running { vm.started_at } else { vm.exited_at },
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

impl VmState {
    const fn name(self) -> &'static str {
        match self {
            Self::Booting => "booting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Exited => "exited",
        }
    }
}

impl Row {
    /// Returns the properties that filters ask for.
    fn filtered(&self) -> Filtered<'_> {
        Filtered {
            names: &self.names,
            id: &self.id,
            states: [&self.state, self.vm_state.name()],
            labels: &self.labels,
            images: [&self.image, &self.reference],
            image_id: &self.image_id,
            exit_code: (self.vm_state == VmState::Exited).then_some(self.exit_code),
        }
    }

    /// Writes the state as podman does: `Up 3 minutes (ready)`, `Exited (0) 2 hours ago`.
    fn status(&self) -> String {
        let now = i64::try_from(Timestamp::now().0 / 1_000_000).unwrap_or(i64::MAX);
        let age = ui::age(u64::try_from(now - self.since).unwrap_or(0));
        match self.vm_state {
            VmState::Exited => format!("Exited ({}) {age}", self.exit_code),
            state => {
                let age = age.strip_suffix(" ago").unwrap_or(&age);
                format!("Up {age} ({})", state.name())
            }
        }
    }

    fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

impl Entry for Row {
    const HEADINGS: &'static [&'static str] =
        &["NAME", "IMAGE", "STATE", "UPTIME", "MEMORY", "VCPUS", "SSH"];

    fn id(&self) -> &str {
        &self.id
    }

    fn rows(&self, _whole_ids: bool) -> Vec<Vec<String>> {
        let state = self.vm_state.name();
        let state = match self.vm_state {
            VmState::Exited => format!("{state} ({})", self.exit_code),
            _ if self.resumed => format!("{state} (resumed)"),
            _ => state.to_owned(),
        };
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        vec![vec![
            self.name().to_owned(),
            self.image.clone(),
            state,
            or_dash(self.uptime_seconds.map(ui::duration)),
            or_dash(self.memory_mib.map(|mib| format!("{mib} MiB"))),
            or_dash(self.vcpus.map(|n| n.to_string())),
            or_dash(self.ssh.clone()),
        ]]
    }

    fn values(&self, whole_ids: bool) -> Vec<Value> {
        let labels: Map<String, Value> = self
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().into()))
            .collect();
        let ports: Vec<String> = self.ports.iter().map(PublishedTo::as_podman).collect();
        vec![json!({
            "ID": shown_id(&self.id, whole_ids),
            "Names": self.names,
            "Image": self.image,
            "ImageID": shown_id(&self.image_id, whole_ids),
            "Command": self.command.join(" "),
            "CreatedAt": self.created_at,
            "Status": self.status(),
            "State": self.state,
            "VmState": self.vm_state.name(),
            "Ports": ports,
            "Labels": labels,
            "ExitCode": self.exit_code,
            "Resumed": self.resumed,
            "Uptime": self.uptime_seconds.map(ui::duration),
            "Memory": self.memory_mib.map(|mib| format!("{mib} MiB")),
            "Vcpus": self.vcpus,
            "Ssh": self.ssh,
        })]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_podmans() {
        let now = i64::try_from(Timestamp::now().0 / 1_000_000).expect("a time");
        let mut vm = Container {
            state: "running".to_owned(),
            started_at: now - 200,
            ..Container::default()
        };
        assert_eq!(row(&vm, None).status(), "Up 3 minutes (booting)");
        vm.state = "exited".to_owned();
        vm.exit_code = 4;
        vm.exited_at = now - 7300;
        assert_eq!(row(&vm, None).status(), "Exited (4) 2 hours ago");
        assert_eq!(row(&vm, None).filtered().exit_code, Some(4));
    }
}
