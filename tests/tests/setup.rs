//! The set-up of a machine.

use std::env;
use std::process::Command;

use bcvk_testkit::{Sandbox, limit};
use bcvk_tests::page::root;

/// Places that the set-up may change.
const PLACES: [&str; 7] = [
    "/etc",
    "/usr/local",
    "/var/lib/dpkg/status",
    "/var/lib/apt/lists",
    "/home",
    "/dev/net",
    "/dev/fuse",
];

/// Returns path, type, mode, owner, size and time of change of each file of the system's.
fn state(cargo: &str) -> Vec<String> {
    let found = Command::new("find")
        .args(PLACES)
        .arg(cargo)
        // Rootless podman's storage changes with every other test.
        .args(["-xdev", "-path", "/home/*/*", "-prune", "-o"])
        .args(["-printf", "%p %y %m %u:%g %s %t\\n"])
        .output();
    let found = String::from_utf8(found.expect("run find").stdout).expect("text");
    let mut lines: Vec<String> = found.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_second_run_of_the_set_up_changes_nothing() {
    // Other users are asked for a password.
    let Some(sandbox) = Sandbox::root() else {
        return;
    };
    let from_outside = |name: &str| env::var(name).unwrap_or_default();
    let cargo = format!("{}/.cargo/bin", from_outside("HOME"));
    let before = state(&cargo);
    assert!(before.len() > 500, "{before:?}");
    // The tests' own set-up was the first run.
    let _ = sandbox
        .command(root().join("setup/host.sh"))
        .arg("--rootless-user")
        .env("HOME", from_outside("HOME"))
        .env("PATH", from_outside("PATH"))
        .limit(limit::BOOT)
        .run()
        .expect_success()
        .expect_stdout("setup: everything is in place");
    let after = state(&cargo);
    let changed: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(changed.is_empty(), "{changed:#?}");
    assert_eq!(before.len(), after.len());
    sandbox.finish();
}
