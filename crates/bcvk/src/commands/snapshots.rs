//! `bcvk ephemeral snapshots`.

use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use bcvk_contract::spec::SnapshotStage;
use bcvk_contract::status::Timestamp;
use bcvk_host::SnapshotEntry;
use serde::Serialize;

use super::listing;
use super::warm::open;
use crate::cli::{Snapshots, SnapshotsLs, SnapshotsPrune, SnapshotsRm, SnapshotsVerb};
use crate::error::{CommandError, RequestError};
use crate::ui::{self, Notice, Ui};

/// One snapshot.
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
    let rows: Vec<Row> = all.iter().map(row).collect();
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
    Row {
        id: entry.id().to_owned(),
        image: about.map_or_else(String::new, |about| about.image.clone()),
        image_id: about.map_or_else(String::new, |about| about.image_id.clone()),
        memory_mib: about.map_or(0, |about| about.memory_mib),
        vcpus: about.map_or(0, |about| about.vcpus),
        stage: about.map(|about| about.stage),
        size: entry.size().unwrap_or(0),
        last_used: last_used.unwrap_or_default().as_secs(),
        usable: entry.check().is_ok(),
    }
}

impl Row {
    fn cells(&self, now: u64) -> Vec<String> {
        let state = if self.usable { "usable" } else { "unusable" };
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

fn rm(args: &SnapshotsRm) -> Result<ExitCode, CommandError> {
    let snapshots = open()?;
    let find = |id: &String| -> Result<SnapshotEntry, CommandError> {
        let found = snapshots
            .by_id(id)
            .map_err(CommandError::io("list snapshots"))?;
        Ok(found.ok_or_else(|| RequestError::NoSuchSnapshot(id.clone()))?)
    };
    // All snapshots have to be found before any is removed.
    let entries = args.ids.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    for entry in entries {
        let removed = entry
            .remove_if_unused()
            .map_err(CommandError::io("remove a snapshot"))?;
        if !removed {
            return Err(RequestError::SnapshotInUse(entry.id().to_owned()).into());
        }
        ui::print(&format!("{}\n", entry.id()));
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
