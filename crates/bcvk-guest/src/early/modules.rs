//! Loading the kernel modules that travel along.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::error::EarlyError;
use super::files::in_order;

/// Directory of the modules, each a file `NN-NAME.ko`, in the order of their numbers.
pub const MODULES: &str = "/usr/lib/bcvk/modules";

/// Loads the modules that the kernel does not have yet. All of them are tried.
///
/// # Errors
/// [`EarlyError`] for the first that could not be loaded.
pub(super) fn load() -> Result<(), EarlyError> {
    let mut first = Ok(());
    let modules = Path::new(MODULES);
    for path in in_order(modules).map_err(EarlyError::with("list", modules))? {
        let result = load_one(&path).map_err(EarlyError::with("load", &path));
        first = first.and(result);
    }
    first
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
