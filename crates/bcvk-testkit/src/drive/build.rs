//! Build of the bcvk that a chore is about.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::error::{Error, Result};
use super::process::run;
use super::say;

/// Limit for cargo to build everything from nothing.
const BUILD: Duration = Duration::from_secs(1800);

/// Returns cargo's target directory.
pub fn target_dir() -> Result<PathBuf> {
    let programs = programs()?;
    let target = programs.parent().map(Path::to_owned);
    target.ok_or_else(|| Error::other("cannot find the target directory"))
}

/// Returns the directory of all programs for the system that this one is for: this one is
/// `TARGET/TUPLE/PROFILE/xtask`.
fn programs() -> Result<PathBuf> {
    let exe = env::current_exe().map_err(Error::io("find the target directory"))?;
    exe.ancestors()
        .nth(2)
        .map(Path::to_owned)
        .ok_or_else(|| Error::other("cannot find the target directory"))
}

/// Builds the release binary, so that the source in the tree is what is measured.
pub fn release() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    say("building bcvk (release)");
    run(
        Command::new(cargo)
            .args(["build", "--release", "--package=bcvk", "--target-dir"])
            .arg(target_dir()?)
            .current_dir(env!("CARGO_MANIFEST_DIR")),
        BUILD,
    )?
    .success("build bcvk")?;
    Ok(programs()?.join("release/bcvk"))
}
