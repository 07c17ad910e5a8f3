//! Path of the binary under test.

use std::env;
use std::path::PathBuf;

/// The file in `BCVK_BIN`, or the one that cargo built beside this test: nextest's set-up script
/// (`.config/nextest.toml`) builds it, because cargo builds no binary for another package's tests.
pub(crate) fn bcvk() -> PathBuf {
    let path = match env::var_os("BCVK_BIN") {
        Some(path) => PathBuf::from(path),
        None => profile().join("bcvk"),
    };
    assert!(
        path.is_file(),
        "there is no bcvk at {}: `cargo build -p bcvk` makes it, or set BCVK_BIN",
        path.display()
    );
    path.canonicalize().expect("the path of the bcvk binary")
}

/// Returns cargo's directory of the profile: tests are at `TARGET/PROFILE/deps/NAME-HASH`, chores at
/// `TARGET/PROFILE/NAME`.
pub(crate) fn profile() -> PathBuf {
    let test = env::current_exe().expect("this test's own path");
    let mut profile = test.parent().expect("a directory of cargo's");
    if profile.ends_with("deps") {
        profile = profile.parent().expect("a directory of cargo's");
    }
    profile.to_owned()
}
