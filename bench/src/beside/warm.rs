//! `run-ssh --warm auto`: the first time, the second, and after the image was built again.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::process;
use tempfile::TempDir;

use super::metrics::{Metric, Samples};
use super::setup::Setup;
use super::vm::Named;

/// Builds of one image, each with what it changes, and what its first VM shows.
const BUILDS: [(&str, &str, Metric); 3] = [
    ("saved", "true", Metric::RunSaved),
    (
        "data",
        "date >/usr/share/data && date >/usr/bin/program-that-nobody-starts",
        Metric::RunRebuilt,
    ),
    (
        "unit",
        "date +'# %s' >>/usr/lib/systemd/system/systemd-logind.service",
        Metric::RunUnit,
    ),
];

/// An image of the bench's. Dropping it removes it.
struct Image<'a> {
    setup: &'a Setup,
    name: String,
}

/// Measures a VM that is saved, one that is resumed from that, and those of rebuilt images, with a cache
/// of their own.
pub(super) fn measure(setup: &Setup, run: u32, samples: &mut Samples) -> Result<()> {
    let cache = TempDir::new_in(setup.work.path()).map_err(Error::io("make a directory"))?;
    let image = Image {
        setup,
        name: format!("localhost/bcvk-bench-{}", std::process::id()),
    };
    for (what, edit, metric) in BUILDS {
        let built = image.build(edit)?;
        let took = image.run(&format!("{what}{run}"), cache.path())?;
        samples.add_duration(metric, took);
        match metric {
            Metric::RunSaved => {
                let took = image.run(&format!("resumed{run}"), cache.path())?;
                samples.add_duration(Metric::RunResumed, took);
            }
            Metric::RunRebuilt => samples.add_duration(Metric::BuildAndRun, built + took),
            _ => {}
        }
    }
    Ok(())
}

impl Image<'_> {
    /// Builds the image anew; returns the time that it took.
    fn build(&self, edit: &str) -> Result<Duration> {
        let file = self.setup.work.path().join("Containerfile");
        let text = format!("FROM {}\nRUN {edit}\n", self.setup.image);
        fs::write(&file, text).map_err(Error::io("write a Containerfile"))?;
        let mut command = Command::new(&self.setup.podman);
        command
            .args(["build", "--quiet", "--isolation=chroot", "--pull=never"])
            .args(["--tag", &self.name, "--file"])
            .args([&file, self.setup.work.path()]);
        Ok(process::run(&mut command, self.setup.limit)?
            .success("build an image")?
            .took)
    }

    /// Runs `true` in a VM of the image; returns the time from the command's start to its end.
    fn run(&self, what: &str, cache: &Path) -> Result<Duration> {
        let vm = Named::new(self.setup, what);
        let words = ["run-ssh", "--warm=auto", "--name", vm.name()];
        let mut command = self.setup.ephemeral(words);
        command.env("XDG_CACHE_HOME", cache);
        let done = process::run(command.args([&self.name, "true"]), self.setup.limit)?;
        let took = done.success("run-ssh --warm auto")?.took;
        vm.is_gone()?;
        Ok(took)
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        let mut command = Command::new(&self.setup.podman);
        // It is in nobody's way if it stays.
        let _ = process::clean_up(
            command.args(["rmi", "--force", &self.name]),
            self.setup.limit,
        );
    }
}
