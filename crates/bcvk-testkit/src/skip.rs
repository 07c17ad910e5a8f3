//! Tests that a machine cannot run.

use std::env;

/// Environment variable that allows tests to be left out: `not-root` leaves out those that need root.
const ALLOWED: &str = "BCVK_TESTS_MAY_SKIP";

/// Returns true if the caller is root, who mounts, gives files away and becomes other users. If not,
/// it fails the test unless the environment allows it to be left out.
#[track_caller]
#[allow(clippy::print_stderr, reason = "says why a test did nothing")]
pub(crate) fn is_root() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(
        env::var(ALLOWED).is_ok_and(|allowed| allowed == "not-root"),
        "only root can run this test; {ALLOWED}=not-root leaves it out"
    );
    eprintln!("skipped: only root can run this test");
    false
}
