//! Loading the kernel modules that travel along.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bcvk_contract::missing::if_exists;
use rustix::io::Errno;

use super::error::EarlyError;

/// Directory of the modules, each a file `NN-NAME.ko`, in the order of their numbers.
pub const MODULES: &str = "/usr/lib/bcvk/modules";

/// Loads the modules that the kernel does not have yet. All of them are tried.
///
/// # Errors
/// [`EarlyError`] for the first that could not be loaded.
pub(super) fn load() -> Result<(), EarlyError> {
    let mut first = Ok(());
    for path in in_order().map_err(EarlyError::with("list", Path::new(MODULES)))? {
        let result = load_one(&path).map_err(EarlyError::with("load", &path));
        first = first.and(result);
    }
    first
}

fn in_order() -> io::Result<Vec<PathBuf>> {
    let Some(entries) = if_exists(fs::read_dir(MODULES))? else {
        return Ok(Vec::new());
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths?;
    paths.sort();
    Ok(paths)
}

/// Loads a module without looking whether it is there already or being loaded, which the kernel
/// knows better: it waits for whoever else is loading it, and then says that it exists, or (since
/// Linux 6.2) that it is busy if that failed.
fn load_one(path: &Path) -> io::Result<()> {
    match rustix::system::finit_module(File::open(path)?, c"", 0) {
        Err(Errno::EXIST) => Ok(()),
        result => Ok(result?),
    }
}
