//! Sizes and times that both sides of the container must agree on.

/// Seconds that `podman stop` leaves a guest for its shutdown before it kills the container.
/// podman's own 10 are not enough for an emulated guest.
pub const STOP_TIMEOUT_SECONDS: u32 = 30;

/// The most that podman keeps of what the container writes on its standard streams, in bytes. When it
/// comes to that, conmon begins the log anew.
pub const LOG_BYTES: u64 = 64 << 20;
