//! Exit codes by which the supervisor and the CLI report how a VM ended, as bcvk-ephemeral(8)
//! documents them.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The guest failed after it was ready, or a request about a VM was refused.
pub const FAILED: u8 = 1;

/// The host or the image kept the VM from running.
pub const HOST: u8 = 125;

/// The VM ended before it was ready.
pub const NOT_READY: u8 = 126;

/// Base of the codes for a process that a signal ended, as shells count them.
pub const SIGNAL: u8 = 128;

/// The guest was killed, because it did not power off or could not: `SIGKILL` has the number 9 on Linux
/// (signal(7)).
pub const KILLED: u8 = SIGNAL + 9;

/// The VM was stopped: `SIGTERM` has the number 15 on Linux (signal(7)).
pub const STOPPED: u8 = SIGNAL + 15;

/// Returns the exit code of a process that has ended, as shells count it.
#[must_use]
pub fn code_of(status: ExitStatus) -> u8 {
    let signal = || i32::from(SIGNAL) + status.signal().unwrap_or_default();
    u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_code_of_its_own() {
        for (wait_status, code) in [(0, 0), (7 << 8, 7), (9, KILLED), (15, STOPPED)] {
            assert_eq!(code_of(ExitStatus::from_raw(wait_status)), code);
        }
    }
}
