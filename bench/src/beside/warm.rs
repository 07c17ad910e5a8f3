//! `run-ssh --warm auto`, the first time and the second.

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::process;
use tempfile::TempDir;

use super::bed::Bed;
use super::metrics::{Metric, Samples};
use super::vm::Named;

/// Measures a VM that is saved, and one that is resumed from that, with a cache of their own.
pub(super) fn measure(bed: &Bed, run: u32, samples: &mut Samples) -> Result<()> {
    let cache = TempDir::new_in(bed.work.path()).map_err(Error::io("make a directory"))?;
    for (what, metric) in [("saved", Metric::RunSaved), ("resumed", Metric::RunResumed)] {
        let vm = Named::new(bed, &format!("{what}{run}"));
        let mut command = bed.ephemeral(["run-ssh", "--warm=auto", "--name", vm.name()]);
        command.env("XDG_CACHE_HOME", cache.path());
        let done = process::run(command.args([&bed.image, "true"]), bed.limit)?;
        samples.add_duration(metric, done.success("run-ssh --warm auto")?.took);
        vm.is_gone()?;
    }
    Ok(())
}
