//! Several checks on one VM.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// Runs checks that do not disturb each other, so that the first failure does not hide the rest:
/// a VM is too slow to boot for one each.
#[derive(Debug, Default)]
pub struct Checks {
    failed: Vec<String>,
    finished: bool,
}

impl Checks {
    /// Begins without a check.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs one check; what it says when it fails is printed at once.
    #[allow(clippy::print_stderr, reason = "shown only with a test that failed")]
    pub fn check(&mut self, name: &str, check: impl FnOnce()) {
        eprintln!("check: {name}");
        if catch_unwind(AssertUnwindSafe(check)).is_err() {
            eprintln!("FAILED: {name}");
            self.failed.push(name.to_owned());
        }
    }

    /// Fails the test if a check has failed.
    #[track_caller]
    pub fn finish(mut self) {
        self.finished = true;
        assert!(
            self.failed.is_empty(),
            "{} checks failed:\n  {}",
            self.failed.len(),
            self.failed.join("\n  ")
        );
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        assert!(
            self.finished || thread::panicking(),
            "a test must call Checks::finish"
        );
    }
}
