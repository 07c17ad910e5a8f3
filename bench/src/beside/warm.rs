//! `run-ssh --warm auto`, the first time and the second.

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::process;
use tempfile::TempDir;

use super::metrics::{Metric, Samples};
use super::setup::Setup;
use super::vm::Named;

/// Measures a VM that is saved, and one that is resumed from that, with a cache of their own.
pub(super) fn measure(setup: &Setup, run: u32, samples: &mut Samples) -> Result<()> {
    let cache = TempDir::new_in(setup.work.path()).map_err(Error::io("make a directory"))?;
    for (what, metric) in [("saved", Metric::RunSaved), ("resumed", Metric::RunResumed)] {
        let vm = Named::new(setup, &format!("{what}{run}"));
        let mut command = setup.ephemeral(["run-ssh", "--warm=auto", "--name", vm.name()]);
        command.env("XDG_CACHE_HOME", cache.path());
        let done = process::run(command.args([&setup.image, "true"]), setup.limit)?;
        samples.add_duration(metric, done.success("run-ssh --warm auto")?.took);
        vm.is_gone()?;
    }
    Ok(())
}
