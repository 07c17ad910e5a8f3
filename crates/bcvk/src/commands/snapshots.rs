//! `bcvk ephemeral snapshots`.

use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use bcvk_contract::checkpoint::Request;
use bcvk_contract::spec::{SnapshotStage, VmName};
use bcvk_contract::status::Timestamp;
use bcvk_host::SnapshotEntry;
use serde::Serialize;

use super::checkpoint::ask;
use super::warm::open;
use super::{find, listing, vm_dirs};
use crate::cli::{Snapshots, SnapshotsLs, SnapshotsPrune, SnapshotsRm, SnapshotsVerb};
use crate::error::{CommandError, RequestError};
use crate::ui::{self, Notice, Ui};

/// Character between the names of a VM and of its checkpoint; neither can have it.
const OF: char = '/';

/// One snapshot, or one checkpoint of a running VM.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub(super) struct Row {
    id: String,
    /// As it was written.
    image: String,
    image_id: String,
    #[serde(rename = "MemoryMiB")]
    memory_mib: u32,
    vcpus: u32,
    /// Moment of its boot at which the VM was saved; null if nobody knows.
    stage: Option<SnapshotStage>,
    /// Bytes on the disk.
    size: u64,
    /// Unix time.
    last_used: u64,
    /// True if a VM can be resumed from it.
    usable: bool,
    /// True while it is being made.
    saving: bool,
    /// The VM whose checkpoint it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    vm: Option<String>,
}

pub(super) fn snapshots(args: &Snapshots, ui: &Ui) -> Result<ExitCode, CommandError> {
    match &args.verb {
        SnapshotsVerb::Ls(args) => ls(args, ui),
        SnapshotsVerb::Rm(args) => rm(args),
        SnapshotsVerb::Prune(args) => prune(args, ui),
    }
}

fn ls(args: &SnapshotsLs, ui: &Ui) -> Result<ExitCode, CommandError> {
    let all = open()?.list().map_err(CommandError::io("list snapshots"))?;
    let mut rows: Vec<Row> = all.iter().map(row).collect();
    rows.extend(checkpoints()?);
    if args.ids.alone {
        listing::show_ids(rows.iter().map(|row| row.id.as_str()), true);
    } else if args.form.json {
        ui.json(&rows)?;
    } else {
        let now = Timestamp::now().0 / 1_000_000;
        ui::print(&ui::table(
            &[
                "ID", "IMAGE", "MEMORY", "VCPUS", "STAGE", "SIZE", "USED", "STATE",
            ],
            rows.iter().map(|row| row.cells(now)),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &SnapshotEntry) -> Row {
    let about = entry.about();
    let about = about.as_ref();
    let last_used = entry
        .last_used()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    // It may be complete by the second look.
    let saving = entry.is_being_saved();
    let usable = entry.check().is_ok();
    Row {
        id: entry.id().to_owned(),
        image: about.map_or_else(String::new, |about| about.image.clone()),
        image_id: about.map_or_else(String::new, |about| about.image_id.clone()),
        memory_mib: about.map_or(0, |about| about.memory_mib),
        vcpus: about.map_or(0, |about| about.vcpus),
        stage: about.map(|about| about.stage),
        size: entry.size().unwrap_or(0),
        last_used: last_used.unwrap_or_default().as_secs(),
        usable,
        saving: saving && !usable,
        vm: None,
    }
}

/// Returns the checkpoints of all VMs that run, as they tell of them.
fn checkpoints() -> Result<Vec<Row>, CommandError> {
    let dirs = vm_dirs()?.list().map_err(CommandError::io("list VMs"))?;
    let vms = dirs.iter().filter(|dir| dir.shared().supervisor_lives());
    let rows = vms.filter_map(|dir| {
        let (spec, status) = (dir.read_spec().ok()?, dir.shared().status().ok()??);
        let rows = status.checkpoints.into_iter();
        Some(rows.map(move |checkpoint| Row {
            id: format!("{}{OF}{}", spec.name, checkpoint.name),
            image: spec.image.reference.clone(),
            image_id: spec.image.id.clone(),
            memory_mib: spec.memory.mib(),
            vcpus: spec.vcpus,
            stage: None,
            size: checkpoint.size,
            last_used: checkpoint.at.0 / 1_000_000,
            usable: true,
            saving: false,
            vm: Some(spec.name.to_string()),
        }))
    });
    Ok(rows.flatten().collect())
}

impl Row {
    fn cells(&self, now: u64) -> Vec<String> {
        let state = match (&self.vm, self.usable) {
            (Some(_), _) => "checkpoint",
            (None, true) => "usable",
            (None, false) if self.saving => "saving",
            (None, false) => "unusable",
        };
        vec![
            self.id.clone(),
            self.image.clone(),
            format!("{} MiB", self.memory_mib),
            self.vcpus.to_string(),
            self.stage.map_or("", SnapshotStage::name).to_owned(),
            ui::size(self.size),
            ui::age(now.saturating_sub(self.last_used)),
            state.to_owned(),
        ]
    }
}

/// Something to be removed.
enum Found {
    Snapshot(SnapshotEntry),
    Checkpoint(find::Found, VmName),
}

fn rm(args: &SnapshotsRm) -> Result<ExitCode, CommandError> {
    let snapshots = open()?;
    let find = |id: &String| -> Result<Found, CommandError> {
        let none = || RequestError::NoSuchSnapshot(id.clone());
        if let Some((vm, checkpoint)) = id.split_once(OF) {
            let checkpoint = checkpoint.parse().map_err(|_| none())?;
            return Ok(Found::Checkpoint(find::running(vm)?, checkpoint));
        }
        let found = snapshots
            .by_id(id)
            .map_err(CommandError::io("list snapshots"))?;
        Ok(Found::Snapshot(found.ok_or_else(none)?))
    };
    // All snapshots have to be found before any is removed.
    let all = args.ids.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    for found in all {
        match found {
            Found::Snapshot(entry) => {
                let removed = entry
                    .remove_if_unused()
                    .map_err(CommandError::io("remove a snapshot"))?;
                if !removed {
                    return Err(RequestError::SnapshotInUse(entry.id().to_owned()).into());
                }
                ui::print(&format!("{}\n", entry.id()));
            }
            Found::Checkpoint(vm, name) => {
                let removed = ask(&vm, &Request::Remove { name })?;
                ui::print(&format!("{}{OF}{removed}\n", vm.spec.name));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn prune(args: &SnapshotsPrune, ui: &Ui) -> Result<ExitCode, CommandError> {
    let gone = open()?
        .prune(args.keep)
        .map_err(CommandError::io("remove snapshots"))?;
    ui.notice(&Notice::SnapshotsRemoved(gone));
    Ok(ExitCode::SUCCESS)
}
