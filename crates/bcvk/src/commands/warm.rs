//! Choice between resuming and booting a VM, and the place of the snapshots.

use bcvk_contract::missing::if_exists;
use bcvk_contract::spec::{
    Earlier, Otherwise, Resume, SavedFiles, Snapshot, SnapshotImage, SnapshotStage, Warm,
};
use bcvk_contract::status::{Status, printable};
use bcvk_host::{Launch, SnapshotEntry, SnapshotKey, Snapshots, Started};

use super::base_directory;
use crate::error::{CommandError, RequestError, UsageError};

/// Limit for the disk space of snapshots.
pub(super) const MOST_BYTES: u64 = 4 << 30;

/// Approximate size of the snapshots of one boot.
const NEW: u64 = 768 << 20;

/// Finds a snapshot that the VM is resumed from, or makes room for one, as `warm` says.
pub(super) fn choose(launch: &mut Launch, warm: Warm) -> Result<(), CommandError> {
    if warm == Warm::Off {
        return Ok(());
    }
    let runner = launch.runner.as_ref().map(|_| "--runner is given");
    if let Some(obstacle) = launch.spec.snapshot_obstacle().or(runner) {
        if warm == Warm::Require {
            return Err(UsageError::NotResumable(obstacle).into());
        }
        tracing::info!("the VM boots, because {obstacle}");
        return Ok(());
    }
    match find(launch, warm) {
        Err(error) if warm == Warm::Auto => {
            tracing::info!(error = &error as &dyn std::error::Error, "no snapshots");
            Ok(())
        }
        result => result,
    }
}

fn find(launch: &mut Launch, warm: Warm) -> Result<(), CommandError> {
    let action = CommandError::io;
    let snapshots = open()?;
    let key = SnapshotKey::new(&launch.spec, &launch.exe)
        .map_err(action("look at what the VM runs with"))?;
    let (image, layers) = (&launch.spec.image, &launch.layers);
    let find = |stage| {
        let found = snapshots.find(stage, &key, image, layers, &mut |error| {
            tracing::info!("a snapshot of this VM was removed: {error}");
        });
        found.map_err(action("look for a snapshot"))
    };
    let ready = find(SnapshotStage::Ready)?;
    let otherwise = match (warm, &ready) {
        (Warm::Require, None) => return Err(RequestError::NoSnapshot.into()),
        (Warm::Require, Some(_)) => Otherwise::Fail,
        (_, Some((_, _, SnapshotImage::Same))) => Otherwise::Boot,
        (_, Some((_, _, SnapshotImage::Other)) | None) => Otherwise::Save,
    };
    let mut early = None;
    if otherwise == Otherwise::Save {
        early = find(SnapshotStage::Early)?;
        snapshots
            .prune(MOST_BYTES - NEW)
            .map_err(action("remove old snapshots"))?;
        for stage in SnapshotStage::ALL {
            let made = snapshots.create(stage, &key, &launch.spec, layers);
            let made = made.map_err(action("make a snapshot"))?;
            launch.saves.push((stage, made));
        }
    }
    let mut resumed = |stage, (held, files, of)| {
        launch.resumes.push((stage, held));
        (files, of)
    };
    let ready = ready.map(|found| resumed(SnapshotStage::Ready, found));
    let early = early.map(|found| resumed(SnapshotStage::Early, found));
    launch.spec.snapshot = Some(snapshot(ready, early, otherwise));
    Ok(())
}

/// Returns the use that is made of the snapshots that were found of each stage.
fn snapshot(
    ready: Option<(SavedFiles, SnapshotImage)>,
    early: Option<(SavedFiles, SnapshotImage)>,
    otherwise: Otherwise,
) -> Snapshot {
    let (stage, (files, of), earlier) = match (ready, early) {
        (None, None) => return Snapshot::Save,
        (None, Some(early)) => (SnapshotStage::Early, early, None),
        (Some(ready), early) => (SnapshotStage::Ready, ready, early),
    };
    Snapshot::Resume(Resume {
        stage,
        files,
        of,
        earlier: earlier.map(|(files, of)| Earlier { files, of }),
        otherwise,
    })
}

/// Says why a VM was booted that had a snapshot, or had none made of it, and removes what is of no
/// use.
pub(super) fn learn(started: &Started, status: &Status) {
    if let Some(what) = &status.differs {
        let how = match status.stage {
            Some(SnapshotStage::Early) => "resumed from the early stage",
            Some(SnapshotStage::Ready) | None => "booted",
        };
        tracing::info!(
            "the VM was {how}: {}, compared with the image of its snapshot",
            printable(what)
        );
    }
    if let Some(why) = &status.cold {
        tracing::info!("the VM was booted: {}", printable(why));
    }
    started.drop_unusable_snapshots();
}

/// Returns the number of the user's snapshots, and the bytes that they take. Nothing is made.
///
/// # Errors
/// If they cannot be looked at.
pub(super) fn usage() -> std::io::Result<(usize, u64)> {
    let cache = base_directory("XDG_CACHE_HOME", ".cache");
    let cache = cache.ok_or(std::io::ErrorKind::NotFound)?;
    let entries = if_exists(Snapshots::existing(&cache).list())?.unwrap_or_default();
    let sizes = entries.iter().map(SnapshotEntry::size);
    Ok((entries.len(), sizes.sum::<std::io::Result<u64>>()?))
}

/// Opens the user's snapshots, where caches are.
pub(super) fn open() -> Result<Snapshots, CommandError> {
    base_directory("XDG_CACHE_HOME", ".cache")
        .ok_or(std::io::ErrorKind::NotFound.into())
        .and_then(|cache| Snapshots::open(&cache))
        .map_err(CommandError::io("open the directory of snapshots"))
}
