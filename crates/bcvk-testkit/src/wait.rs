//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// Time between two looks. Nothing depends on it but the load on the machine.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// Waits until `condition` holds; fails the test after `limit`.
#[track_caller]
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    until_some(what, limit, || condition().then_some(()));
}

/// Waits until `look` finds something; fails the test after `limit`.
#[track_caller]
pub fn until_some<T>(what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    within(limit, look).unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}"))
}

/// Returns what `look` found, if it did before `limit`.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(LOOK);
    }
}
