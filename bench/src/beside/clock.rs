//! The wall clock, in which processes that know nothing of each other say when something was.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the microseconds since the epoch, as in bcvk's events.
#[allow(
    clippy::disallowed_methods,
    reason = "compared with times that others have written"
)]
pub(super) fn now() -> u64 {
    micros(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the time from `earlier` to `later`; zero if they are the other way round, which is
/// possible between clocks of different precision.
pub(super) fn seconds(earlier: u64, later: u64) -> f64 {
    Duration::from_micros(later.saturating_sub(earlier)).as_secs_f64()
}
