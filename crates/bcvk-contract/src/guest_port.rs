//! Virtio-serial ports through which the guest speaks. The guest opens them by number, because udev's
//! names for them come late.

/// Beginning of the names of bcvk's own ports, under `/dev/virtio-ports/` in the guest.
pub const NAME_PREFIX: &str = "org.bcvk.";

/// The control port.
pub const CONTROL: u8 = 1;
/// Standard output of the commands to execute.
pub const STDOUT: u8 = 2;
/// Their standard error.
pub const STDERR: u8 = 3;
/// The initramfs's journal.
pub const INITRD_JOURNAL: u8 = 4;
/// The system's journal.
pub const JOURNAL: u8 = 5;
/// Messages to and from the agent.
pub const AGENT: u8 = 6;
/// The sessions of the user.
pub const SESSIONS: u8 = 7;
/// The first of the user's own.
pub const FIRST_OF_USER: u8 = 8;
