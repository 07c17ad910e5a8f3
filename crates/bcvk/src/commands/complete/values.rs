//! Values that options and arguments may have.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use bcvk_contract::spec::{Choice, Stream};
use bcvk_contract::status::Status;
use bcvk_host::podman::Podman;
use bcvk_host::{BootableImage, Snapshots, Tool, VmDirs, find_tool};
use clap::{Arg, Command};
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};

use crate::cli::Ssh;
use crate::commands::base_directory;
use crate::ui;

/// Limit for podman to list its images. It takes a tenth of that where nothing is wrong.
const PATIENCE: Duration = Duration::from_secs(1);

/// Verbs that only make sense for a VM that runs.
const FOR_RUNNING: [&str; 10] = [
    "boot-chart",
    "checkpoint",
    "exec",
    "port",
    "reset",
    "ssh",
    "ssh-config",
    "stop",
    "top",
    "wait",
];

/// Adds the values to the command line, of which `before` has been typed.
pub(super) fn add(command: Command, before: &[OsString]) -> Command {
    let running = FOR_RUNNING.contains(&command.get_name());
    // For `ssh`, a command for the VM follows the VM's name.
    let is_named = command.get_name() == "ssh" && names_a_vm(before);
    command
        .mut_args(|arg| {
            let id = arg.get_id().as_str().to_owned();
            match (arg.is_positional(), id.as_str()) {
                (true, "words") if is_named => arg,
                (true, "name" | "names" | "vm" | "words") => {
                    let given = before.to_vec();
                    complete(arg, move |current| vms(current, running, &given))
                }
                (true, "image") | (false, "run" | "runner") => complete(arg, images),
                (true, "ids") => complete(arg, snapshots),
                (true, "checkpoint") => {
                    let given = before.to_vec();
                    complete(arg, move |current| checkpoints(current, &given))
                }
                (false, _) => option(arg),
                _ => arg,
            }
        })
        .mut_subcommands(|below| add(below, before))
}

fn option(arg: Arg) -> Arg {
    let name = arg.get_long().unwrap_or_default().to_owned();
    match name.as_str() {
        "log-dir" => complete(arg, log_dirs),
        "virtio-serial-out" => complete(arg, |current| after(current, ':', &PathCompleter::file())),
        _ => arg,
    }
}

fn complete(
    arg: Arg,
    values: impl Fn(&OsStr) -> Vec<CompletionCandidate> + Send + Sync + 'static,
) -> Arg {
    arg.add(ArgValueCompleter::new(values))
}

fn starting(
    current: &OsStr,
    all: impl IntoIterator<Item = CompletionCandidate>,
) -> Vec<CompletionCandidate> {
    let current = current.as_encoded_bytes();
    let fits = |c: &CompletionCandidate| c.get_value().as_encoded_bytes().starts_with(current);
    all.into_iter().filter(fits).collect()
}

/// Returns true if the words of an `ssh` command line already include the VM's name.
fn names_a_vm(before: &[OsString]) -> bool {
    let words = before
        .iter()
        .map(|word| word.to_string_lossy().into_owned());
    let words = words.skip_while(|word| word != "ssh").skip(1);
    Ssh::from_words(words.collect()).sort().is_some()
}

/// Lists names of VMs from their directories, without asking podman.
fn vms(current: &OsStr, running: bool, given: &[OsString]) -> Vec<CompletionCandidate> {
    let runtime_dir = env::var_os("XDG_RUNTIME_DIR");
    let dirs = VmDirs::existing(runtime_dir.as_deref().map(Path::new));
    let dirs = dirs.and_then(|dirs| dirs.list().ok()).unwrap_or_default();
    let found = dirs.iter().filter_map(|dir| {
        let spec = dir.read_spec().ok()?;
        let lives = dir.shared().supervisor_lives();
        let name = spec.name.as_str();
        if (running && !lives) || given.iter().any(|word| word == name) {
            return None;
        }
        let state = if lives { "" } else { ", ended" };
        let about = format!("{}{state}", spec.image.reference);
        Some(CompletionCandidate::new(name).help(Some(about.into())))
    });
    starting(current, found)
}

fn images(current: &OsStr) -> Vec<CompletionCandidate> {
    let Ok(program) = find_tool(Tool::Podman) else {
        return Vec::new();
    };
    let images = BootableImage::list_within(&Podman::new(program), PATIENCE);
    let current = current.to_string_lossy();
    let found = images.iter().flat_map(|image| {
        let names = image.names.iter();
        names.filter_map(|name| Some((shown(name, &current)?, image.size)))
    });
    found
        .map(|(name, size)| CompletionCandidate::new(name).help(Some(ui::size(size).into())))
        .collect()
}

/// Returns an image's name if it, or what podman takes for it, begins with `current`.
fn shown<'a>(name: &'a str, current: &str) -> Option<&'a str> {
    let short = name.strip_prefix("localhost/");
    [Some(name), short]
        .into_iter()
        .flatten()
        .find(|name| name.starts_with(current))
}

/// Lists the checkpoints of the VM that was given.
fn checkpoints(current: &OsStr, given: &[OsString]) -> Vec<CompletionCandidate> {
    let found = running_vms().into_iter().filter_map(|(name, status)| {
        given
            .iter()
            .any(|word| *word == *name)
            .then_some(status.checkpoints)
    });
    let names = found
        .flatten()
        .map(|checkpoint| CompletionCandidate::new(checkpoint.name.as_str()));
    starting(current, names)
}

/// Returns the names of all VMs that run, and what they say of themselves.
fn running_vms() -> Vec<(String, Status)> {
    let runtime_dir = env::var_os("XDG_RUNTIME_DIR");
    let dirs = VmDirs::existing(runtime_dir.as_deref().map(Path::new));
    let dirs = dirs.and_then(|dirs| dirs.list().ok()).unwrap_or_default();
    let vms = dirs.iter().filter(|dir| dir.shared().supervisor_lives());
    vms.filter_map(|dir| {
        let spec = dir.read_spec().ok()?;
        let status = dir.shared().status().ok().flatten()?;
        Some((spec.name.to_string(), status))
    })
    .collect()
}

fn snapshots(current: &OsStr) -> Vec<CompletionCandidate> {
    let cache = base_directory("XDG_CACHE_HOME", ".cache");
    let entries = cache.and_then(|cache| Snapshots::existing(&cache).list().ok());
    let entries = entries.unwrap_or_default();
    let found = entries.iter().map(|entry| {
        let about = entry.about().map(|about| about.image.into());
        CompletionCandidate::new(entry.id()).help(about)
    });
    let checkpoints = running_vms().into_iter().flat_map(|(vm, status)| {
        let names = status.checkpoints.into_iter();
        names.map(move |checkpoint| CompletionCandidate::new(format!("{vm}/{}", checkpoint.name)))
    });
    starting(current, found.chain(checkpoints))
}

/// Completes `console,journal=DIR`.
fn log_dirs(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut streams: Vec<&str> = Stream::ALL.iter().map(|stream| stream.name()).collect();
    let both = streams.join(",");
    streams.push(&both);
    let streams = streams.into_iter().map(|names| format!("{names}="));
    let mut found = starting(current, streams.map(CompletionCandidate::new));
    found.retain(|candidate| candidate.get_value() != current);
    found.extend(after(current, '=', &PathCompleter::dir()));
    found
}

/// Completes the paths that could stand behind a separator.
fn after(current: &OsStr, separator: char, paths: &PathCompleter) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let Some((before, path)) = current.split_once(separator) else {
        return Vec::new();
    };
    let prefix = format!("{before}{separator}");
    let found = paths.complete(OsStr::new(path)).into_iter();
    found.map(|c| c.add_prefix(prefix.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueHint;

    use super::*;
    use crate::cli;

    /// Arguments whose values nobody but the user knows.
    const FREE: [&str; 26] = [
        "add_swap",
        "allow",
        "columns",
        "command",
        "env",
        "execute",
        "filter",
        "hostname",
        "karg",
        "keep",
        "kvm_resource",
        "label",
        "machine_id",
        "memory",
        "network",
        "port",
        "publish",
        "settle",
        "since",
        "tail",
        "time",
        "timeout",
        "user",
        "var_disk",
        "var_size",
        "vcpus",
    ];

    fn check(command: &Command, seen: &mut BTreeSet<String>) {
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        for arg in shown.filter(|arg| arg.get_action().takes_values()) {
            let id = arg.get_id().to_string();
            let completes = arg.get::<ArgValueCompleter>().is_some()
                || !arg.get_possible_values().is_empty()
                || arg.get_value_hint() != ValueHint::Unknown;
            let is_free = FREE.contains(&id.as_str()) || (id == "name" && !arg.is_positional());
            assert_ne!(completes, is_free, "{id} of {}", command.get_name());
            let _ = seen.insert(id);
        }
        for below in command.get_subcommands() {
            check(below, seen);
        }
    }

    #[test]
    fn every_value_is_completed_or_the_users_own() {
        let mut seen = BTreeSet::new();
        check(&add(cli::visible(), &[]), &mut seen);
        let gone: Vec<_> = FREE.iter().filter(|id| !seen.contains(**id)).collect();
        assert!(gone.is_empty(), "{gone:?}");
    }

    #[test]
    fn images_are_found_by_what_podman_takes_for_them() {
        for (name, current, expected) in [
            ("localhost/os:1", "", Some("localhost/os:1")),
            ("localhost/os:1", "loc", Some("localhost/os:1")),
            ("localhost/os:1", "os", Some("os:1")),
            ("quay.io/os:1", "os", None),
        ] {
            assert_eq!(shown(name, current), expected, "{name} for '{current}'");
        }
    }

    #[test]
    fn a_command_for_the_vm_is_no_name() {
        for (words, named) in [
            (&["bcvk", "ephemeral", "ssh"][..], false),
            (&["bcvk", "ephemeral", "ssh", "-N", "-L", "1:h:2"], false),
            (&["bcvk", "ephemeral", "ssh", "-N", "vm"], true),
            (&["bcvk", "-q", "ephemeral", "ssh", "vm", "-v"], true),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(names_a_vm(&words), named, "{words:?}");
        }
    }
}
