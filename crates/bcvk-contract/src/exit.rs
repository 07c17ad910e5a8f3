//! Exit codes by which the supervisor and the CLI report how a VM ended, as bcvk-ephemeral(8)
//! documents them.

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
