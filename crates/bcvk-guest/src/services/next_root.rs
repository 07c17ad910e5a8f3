//! The program in another root, which a soft-reboot changes to (systemd-soft-reboot.service(8)).

use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::early::SYSTEM_PROGRAM;

/// Keeps this program where its units look for it. The next root gets `/run` without what is mounted
/// there, as this program is, which spares memory as long as there is one root.
///
/// # Errors
/// If it cannot be copied.
pub fn keep_program() -> io::Result<()> {
    let run = Path::new("/run");
    let below = run.join("bcvk/below");
    fs::create_dir_all(&below)?;
    mount_bind(run, &below)?;
    let path = Path::new(SYSTEM_PROGRAM).strip_prefix(run);
    let copied = path
        .map_err(io::Error::other)
        .and_then(|path| fs::copy(SYSTEM_PROGRAM, below.join(path)));
    unmount(&below, UnmountFlags::DETACH)?;
    copied.map(drop)
}
