//! Values that options and arguments may have.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use bcvk_contract::spec::InstanceType;
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
const FOR_RUNNING: [&str; 4] = ["ssh", "ssh-config", "stop", "wait"];

/// Options that accept few words, by their names.
const WORDS: [(&str, &[&str]); 7] = [
    ("accel", &["auto", "kvm", "tcg"]),
    ("fidelity", &["fast", "full"]),
    ("for", &["ready", "stopped", "unit="]),
    ("initramfs", &["image", "direct"]),
    ("output", &["console", "journal"]),
    ("pull", &["never", "missing", "always"]),
    ("warm", &["auto", "off", "require"]),
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
                (true, "name" | "names" | "words") => {
                    let given = before.to_vec();
                    complete(arg, move |current| vms(current, running, &given))
                }
                (true, "image") | (false, "runner") => complete(arg, images),
                (true, "ids") => complete(arg, snapshots),
                (false, _) => option(arg),
                _ => arg,
            }
        })
        .mut_subcommands(|below| add(below, before))
}

fn option(arg: Arg) -> Arg {
    let name = arg.get_long().unwrap_or_default().to_owned();
    if let Some(&(_, words)) = WORDS.iter().find(|(known, _)| *known == name) {
        let words = words.iter().map(CompletionCandidate::new);
        return complete(arg, move |current| starting(current, words.clone()));
    }
    match name.as_str() {
        "itype" => complete(arg, itypes),
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

fn snapshots(current: &OsStr) -> Vec<CompletionCandidate> {
    let cache = base_directory("XDG_CACHE_HOME", ".cache");
    let entries = cache.and_then(|cache| Snapshots::existing(&cache).list().ok());
    let entries = entries.unwrap_or_default();
    let found = entries.iter().map(|entry| {
        let about = entry.about().map(|about| about.image.into());
        CompletionCandidate::new(entry.id()).help(about)
    });
    starting(current, found)
}

fn itypes(current: &OsStr) -> Vec<CompletionCandidate> {
    let all = InstanceType::all().iter().map(|itype| {
        let size = format!("{} vCPU, {} MiB", itype.vcpus(), itype.memory().mib());
        CompletionCandidate::new(itype.name()).help(Some(size.into()))
    });
    starting(current, all)
}

/// Completes `journal,console=DIR`.
fn log_dirs(current: &OsStr) -> Vec<CompletionCandidate> {
    let streams = ["journal=", "console=", "journal,console="];
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
    use clap::error::ErrorKind;

    use super::*;
    use crate::cli;

    /// Every verb that has an option accepts the values that are offered for it.
    #[test]
    fn offered_words_are_values_of_their_options() {
        let mut seen = 0;
        for (option, words) in WORDS {
            for verb in ["run", "kube", "wait"] {
                for word in words.iter().filter(|word| !word.ends_with('=')) {
                    let line = [
                        "bcvk",
                        "ephemeral",
                        verb,
                        "x",
                        &format!("--{option}={word}"),
                    ];
                    match cli::command().try_get_matches_from(line) {
                        Ok(_) => seen += 1,
                        Err(e) => assert_eq!(e.kind(), ErrorKind::UnknownArgument, "{e}"),
                    }
                }
            }
        }
        let words: usize = WORDS.iter().map(|(_, words)| words.len()).sum();
        assert!(seen >= words - 1, "{seen} of {words}");
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
