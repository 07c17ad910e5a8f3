//! The snapshots in a sandbox's cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bcvk_testkit::{Sandbox, images, limit, schema};

pub(crate) fn list(sandbox: &Sandbox) -> Vec<serde_json::Value> {
    let output = sandbox.bcvk(["snapshots", "ls", "--json"]).run();
    let list: serde_json::Value =
        serde_json::from_str(&output.expect_success().stdout()).expect("JSON");
    schema::expect_valid("ephemeral-snapshots-ls", std::slice::from_ref(&list));
    list.as_array().expect("a list").clone()
}

pub(crate) fn usable(sandbox: &Sandbox) -> Vec<bool> {
    let usable = |row: &serde_json::Value| row["Usable"].as_bool();
    list(sandbox).iter().filter_map(usable).collect()
}

pub(crate) fn entry(sandbox: &Sandbox) -> PathBuf {
    let dir = sandbox.home().join(".cache/bcvk/snapshots");
    let only = |dir: PathBuf| {
        let mut entries = fs::read_dir(dir).expect("a directory");
        entries.next().expect("one").expect("one").path()
    };
    // The snapshot is in the directory of this host.
    only(only(dir))
}

/// Gives the sandbox a snapshot of the image: the first test that asks for one makes it.
pub(crate) fn take_snapshot(sandbox: &Sandbox) {
    let cache = sandbox.snapshot_cache().join("warm");
    fs::create_dir_all(&cache).expect("made");
    let lock = fs::File::create(cache.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    let _ = sandbox
        .bcvk(["run-ssh", "--warm=auto", "--name", &sandbox.name("first")])
        .args([images::trixie(), "true"])
        .env("XDG_CACHE_HOME", &cache)
        .limit(limit::BOOT)
        .run()
        .expect_success();
    let own = sandbox.home().join(".cache");
    fs::create_dir_all(&own).expect("made");
    copy(&cache.join("bcvk"), &own);
}

pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .args([from, to])
        .status();
    assert!(status.expect("run cp").success());
}

pub(crate) fn cut(path: &Path) {
    let file = fs::File::options().write(true).open(path).expect("opened");
    let length = file.metadata().expect("there").len();
    file.set_len(length / 2).expect("cut");
}
