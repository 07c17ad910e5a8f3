//! Search for files that no command of bcvk would find again, in places that tests share.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::sandbox::Sandbox;

/// Names in the cache: the snapshots of each host, and the times that boots have taken.
const CACHE: [&str; 3] = ["boot-times.json", "check-times.json", "snapshots"];

/// Names in the directory of a snapshot.
const SNAPSHOT: [&str; 8] = [
    "about.json",
    "keeper",
    "lock",
    "meta.json",
    "sealed",
    "staging",
    "used",
    "vms",
];

/// Returns the files and directories of this kind that are there, whoever has left them.
pub(crate) fn strays(sandbox: &Sandbox) -> BTreeSet<PathBuf> {
    let mut strays = in_shared_memory(Path::new("/dev/shm"));
    strays.extend(without_spec(&sandbox.vm_dirs()));
    // The rootless user's cache has snapshots that other tests are making.
    if sandbox.home().starts_with(sandbox.path()) {
        strays.extend(in_cache(&sandbox.home().join(".cache/bcvk")));
    }
    strays.into_iter().collect()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

/// Lists what is not podman's: its locks are there for as long as the host runs.
fn in_shared_memory(dir: &Path) -> Vec<PathBuf> {
    let mut found = entries(dir);
    found.retain(|path| !name(path).starts_with("libpod_"));
    found
}

/// Lists VM directories that do not say whose they are.
fn without_spec(vms: &Path) -> Vec<PathBuf> {
    let mut found = entries(vms);
    found.retain(|dir| !dir.join("spec.json").exists());
    found
}

/// Lists what is no part of a snapshot, and copies of a guest that have been sealed or given up.
fn in_cache(cache: &Path) -> Vec<PathBuf> {
    let mut found = entries(cache);
    found.retain(|path| !CACHE.contains(&name(path)));
    let hosts = entries(&cache.join("snapshots"));
    for snapshot in hosts.iter().flat_map(|host| entries(host)) {
        let (known, unknown): (Vec<_>, Vec<_>) = entries(&snapshot)
            .into_iter()
            .partition(|path| SNAPSHOT.contains(&name(path)));
        found.extend(unknown);
        found.extend(known.is_empty().then(|| snapshot.clone()));
        let staged = entries(&snapshot.join("staging")).into_iter();
        found.extend(staged.filter(|file| fs::metadata(file).is_ok_and(|file| file.len() > 0)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what `find` finds in a directory with these files.
    fn found(files: &[(&str, &str)], find: fn(&Path) -> Vec<PathBuf>) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        for (file, text) in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, text).expect("written");
        }
        let mut found: Vec<String> = find(dir.path())
            .iter()
            .map(|path| {
                path.strip_prefix(dir.path())
                    .expect("below")
                    .display()
                    .to_string()
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn files_that_nobody_would_find_again_are_seen() {
        let shm = [
            ("libpod_lock", ""),
            ("libpod_rootless_lock_1", ""),
            ("memory", ""),
        ];
        assert_eq!(found(&shm, in_shared_memory), ["memory"]);

        let vms = [
            ("1/spec.json", "{}"),
            ("2/ssh_key", "secret"),
            ("3/lock", ""),
        ];
        assert_eq!(found(&vms, without_spec), ["2", "3"]);

        let cache = [
            ("snapshots/host/a-1/meta.json", "{}"),
            ("snapshots/host/a-1/sealed/memory", "text"),
            ("snapshots/host/a-1/staging/memory", ""),
            ("snapshots/host/b-2/meta.json.new", "{}"),
            ("snapshots/host/b-2/staging/memory", "text"),
            ("snapshots/host/c-3.removed/other", ""),
            ("boot-times.json", "{}"),
            ("boot-times.json.1", "{}"),
        ];
        assert_eq!(
            found(&cache, in_cache),
            [
                "boot-times.json.1",
                "snapshots/host/b-2/meta.json.new",
                "snapshots/host/b-2/staging/memory",
                "snapshots/host/c-3.removed",
                "snapshots/host/c-3.removed/other",
            ]
        );
    }
}
