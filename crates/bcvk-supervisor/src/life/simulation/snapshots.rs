//! The snapshots that simulated VMs may have.

use bcvk_contract::examples::saved_files;
use bcvk_contract::spec::{Earlier, Otherwise, Resume, Snapshot, SnapshotImage, SnapshotStage};

/// Number of kinds of snapshots that a VM may have.
pub(super) const SNAPSHOTS: usize = 7;

/// Returns one of each kind.
pub(super) fn snapshots() -> [Option<Snapshot>; SNAPSHOTS] {
    let files = saved_files();
    let resume_at = |stage, of, earlier, otherwise| {
        Some(Snapshot::Resume(Resume {
            stage,
            files,
            of,
            earlier,
            otherwise,
        }))
    };
    let resume = |of, otherwise| resume_at(SnapshotStage::Ready, of, None, otherwise);
    let other = SnapshotImage::Other;
    let earlier = Some(Earlier { files, of: other });
    [
        None,
        Some(Snapshot::Save),
        resume(SnapshotImage::Same, Otherwise::Boot),
        resume(other, Otherwise::Save),
        resume(other, Otherwise::Fail),
        resume_at(SnapshotStage::Ready, other, earlier, Otherwise::Save),
        resume_at(SnapshotStage::Early, other, None, Otherwise::Save),
    ]
}
