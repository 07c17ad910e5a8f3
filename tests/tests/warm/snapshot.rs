//! The snapshots in a sandbox's cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bcvk_testkit::{Sandbox, images, limit, schema};
use serde_json::Value;

/// Returns the snapshots of VMs whose systems were up.
pub(crate) fn list(sandbox: &Sandbox) -> Vec<Value> {
    list_at(sandbox, "ready")
}

/// Returns the snapshots of one stage.
pub(crate) fn list_at(sandbox: &Sandbox, stage: &str) -> Vec<Value> {
    let mut all = list_all(sandbox);
    all.retain(|row| row["Stage"] == stage);
    all
}

pub(crate) fn list_all(sandbox: &Sandbox) -> Vec<Value> {
    let output = sandbox.bcvk(["snapshots", "ls", "--json"]).run();
    let list: Value = serde_json::from_str(&output.expect_success().stdout()).expect("JSON");
    schema::expect_valid("ephemeral-snapshots-ls", std::slice::from_ref(&list));
    list.as_array().expect("a list").clone()
}

pub(crate) fn usable(sandbox: &Sandbox) -> Vec<bool> {
    let usable = |row: &Value| row["Usable"].as_bool();
    list(sandbox).iter().filter_map(usable).collect()
}

/// Returns the directory of the snapshot of a VM whose system was up.
pub(crate) fn entry(sandbox: &Sandbox) -> PathBuf {
    entries(sandbox, &list(sandbox)).remove(0)
}

/// Returns the directories of these snapshots.
pub(crate) fn entries(sandbox: &Sandbox, rows: &[Value]) -> Vec<PathBuf> {
    let dir = sandbox.home().join(".cache/bcvk/snapshots");
    // The snapshots are in the directory of this host.
    let mut hosts = fs::read_dir(dir).expect("a directory");
    let host = hosts.next().expect("one").expect("one").path();
    let id = |row: &Value| row["Id"].as_str().expect("an ID").to_owned();
    rows.iter().map(|row| host.join(id(row))).collect()
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
