//! Start of processors that the kernel has left alone.

use std::fs;
use std::io;
use std::path::Path;

use super::error::EarlyError;

/// Argument of a kernel that was told to use one processor, and whose others are to be started now.
pub const START: &str = "bcvk.start_processors";

/// Directory of the processors (Linux, Documentation/core-api/cpu_hotplug.rst).
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Starts all processors, if the kernel's command line says so.
///
/// # Errors
/// [`EarlyError`] for the first that does not start; all of them are tried.
pub(super) fn start() -> Result<(), EarlyError> {
    let arguments = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    if arguments.split_whitespace().any(|word| word == START) {
        let dir = Path::new(PROCESSORS);
        start_in(dir).map_err(EarlyError::with("start a processor in", dir))
    } else {
        Ok(())
    }
}

fn start_in(dir: &Path) -> io::Result<()> {
    let mut first = Ok(());
    for entry in fs::read_dir(dir)? {
        let switch = entry?.path().join("online");
        // The first processor has no switch, and neither have the directories that are no processors.
        if fs::read_to_string(&switch).is_ok_and(|state| state.trim() == "0") {
            first = first.and(fs::write(&switch, "1"));
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_off_are_started() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, state) in [("cpu0", None), ("cpu1", Some("0\n")), ("cpu2", Some("1\n"))] {
            let cpu = dir.path().join(name);
            fs::create_dir(&cpu).expect("made");
            if let Some(state) = state {
                fs::write(cpu.join("online"), state).expect("written");
            }
        }
        start_in(dir.path()).expect("started");
        let state = |name: &str| fs::read_to_string(dir.path().join(name).join("online")).ok();
        assert_eq!(state("cpu0"), None);
        assert_eq!(state("cpu1").as_deref(), Some("1"));
        assert_eq!(state("cpu2").as_deref(), Some("1\n"));
    }
}
