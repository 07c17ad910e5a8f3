//! Hints that mend errors: each is a command, where it can be.

use std::io::ErrorKind;
use std::path::Path;

use bcvk_contract::linkage::NotStatic;
use bcvk_contract::spec::{Arch, MemorySize};
use bcvk_contract::status::{Failure, FailureKind, OUT_OF_MEMORY, Phase};
use bcvk_host::shell::quote;
use bcvk_host::{HostError, Operation, Tool};

/// Returns what to do about `error`, if anything can be done.
pub(super) fn hint(error: &HostError) -> Option<String> {
    Some(match error {
        HostError::NotStatic(_) => NotStatic::HINT.to_owned(),
        HostError::ToolMissing(tool @ Tool::Qemu(_)) => format!(
            "install it: {}; or let --runner bring it along",
            package(*tool)
        ),
        HostError::ToolMissing(tool) => format!("install it: {}", package(*tool)),
        HostError::QemuOutsideUsr(_) => {
            "install your distribution's QEMU, and put its directory first in PATH".to_owned()
        }
        HostError::SupervisorNotStarted { .. } => {
            "`bcvk doctor` tries whether containers start here; `bcvk ephemeral run --debug IMAGE` \
             opens a shell in this one"
                .to_owned()
        }
        HostError::NoKvm { remedy, .. } => match remedy {
            Some(remedy) => format!("{remedy}; or use --accel auto (or tcg) to emulate"),
            None => "use --accel auto (or tcg) to emulate".to_owned(),
        },
        HostError::FewOpenFiles { needed, .. } => format!(
            "`ulimit -Hn` shows the limit; root raises it with `prlimit --nofile={needed} --pid $$`, \
             or for good in /etc/security/limits.conf"
        ),
        HostError::UsrNotMerged(_) => format!("merge it: {}", install("usrmerge", "filesystem")),
        HostError::FewSubIds { user, .. } => format!(
            "root adds some with `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \
             {}`; then `podman system migrate`",
            quote(user)
        ),
        HostError::MemoryTooLarge { available, .. } => memory_that_fits(*available),
        HostError::ShareSource { path, source } if source.kind() == ErrorKind::NotFound => {
            format!(
                "`mkdir -p {}` makes it, if that is the right place",
                word(path)
            )
        }
        HostError::ShareNotDirectory(path) => {
            format!("share the directory it is in: {}", parent(path).display())
        }
        HostError::ExecuteOverSsh { verb } => format!(
            "give the command after the image: {verb} … IMAGE -- CMD; or use `bcvk ephemeral run \
             --execute`"
        ),
        HostError::NoEvents(_) => {
            "leave one of them out; a VM of `bcvk ephemeral run --output json` can be reached with \
             `bcvk ephemeral ssh`"
                .to_owned()
        }
        HostError::SshNeeded { .. } => {
            "leave --no-ssh-keygen out, or use `bcvk ephemeral run`".to_owned()
        }
        HostError::NeedsForce => "use `bcvk ephemeral rm-all -f`".to_owned(),
        HostError::Setting { .. } => "`man bcvk-config` describes the settings".to_owned(),
        HostError::Podman { action, stderr } => {
            return podman_hint(stderr).or_else(|| {
                // For the needs of a start, `bcvk doctor` is the better check.
                (*action != Operation::Start)
                    .then(|| "`podman info` shows whether podman itself works here".to_owned())
            });
        }
        HostError::Vm(failure) => return vm_hint(failure),
        other => {
            return named_vm_hint(other)
                .or_else(|| image_hint(other))
                .or_else(|| snapshot_hint(other))
                .or_else(|| file_hint(other));
        }
    })
}

/// Returns what to do about a VM that was named, or that came to nothing.
fn named_vm_hint(error: &HostError) -> Option<String> {
    Some(match error {
        HostError::NameTaken { name } => {
            format!("choose another --name, or `podman rm -f {name}` removes the old one")
        }
        HostError::NoSuchVm { .. } => "`bcvk ephemeral ps -a` lists the VMs there are".to_owned(),
        HostError::NotAVm { name } => format!("`podman` manages it: `podman rm {name}`"),
        HostError::NotRunning { name } => {
            format!("`podman start {name}` boots it again")
        }
        HostError::NotReady { name, phase } if *phase < Phase::Ready => {
            format!("`bcvk ephemeral wait {name}` returns when it is")
        }
        HostError::NotReady { .. } => "boot another one".to_owned(),
        HostError::StillRunning { name } => {
            format!("`bcvk ephemeral stop {name}` first, or `bcvk ephemeral rm -f {name}`")
        }
        HostError::NoSsh { name } => {
            format!("start it without, or read its console: `bcvk ephemeral logs {name}`")
        }
        HostError::ReadyTimeout { .. } => {
            "--timeout gives it longer; --console shows the boot".to_owned()
        }
        HostError::WaitTimeout { name, .. } => format!(
            "`bcvk ephemeral logs {name}` shows its console; `bcvk ephemeral wait` waits as long as its \
             --timeout says"
        ),
        HostError::SupervisorVanished { .. } => OUT_OF_MEMORY.to_owned(),
        HostError::Stopped => {
            "`podman stop` and `bcvk ephemeral stop` do that, and so does a shutdown of this machine"
                .to_owned()
        }
        HostError::EndedBefore { name, failure, .. } => {
            let hint = failure.as_deref().and_then(|f| f.hint.as_deref());
            hint.map_or_else(
                || format!("`bcvk ephemeral logs {name}` shows its console, if it was kept"),
                str::to_owned,
            )
        }
        HostError::UnitNotActive { name, unit, .. } => {
            format!("`bcvk ephemeral ssh {name} systemctl status {unit}` says more")
        }
        HostError::InGuest { name, .. } => {
            format!("`bcvk ephemeral ssh {name}` may say more; `logs {name}` shows its console")
        }
        _ => return None,
    })
}

/// Returns what to do about an image that is not here, or is not what it was given for.
fn image_hint(error: &HostError) -> Option<String> {
    Some(match error {
        HostError::ImageMissing { reference } if registry(reference) == "localhost" => {
            build(reference)
        }
        HostError::ImageMissing { reference } => {
            format!("`podman pull {}` gets it", quote(reference))
        }
        HostError::ImageArch { reference, .. } => format!(
            "`podman pull --arch ARCH {}` gets it for another architecture, if it is made for that",
            quote(reference)
        ),
        HostError::ImageSteersRuntime { reference, .. } => format!(
            "build it without: `podman image inspect --format '{{{{json .Annotations}}}}' {}` lists what it has",
            quote(reference)
        ),
        HostError::ImageName { .. } => "`bcvk images list` shows the names there are".to_owned(),
        HostError::PullFailed { reference } => match registry(reference) {
            "localhost" => build(reference),
            registry => format!(
                "check the name, or log in: `podman login {}`",
                quote(registry)
            ),
        },
        HostError::NotARunner { .. } | HostError::RunnerVersion { .. } => {
            "`make runner` in bcvk's source makes localhost/bcvk-runner of this version".to_owned()
        }
        HostError::RunnerArch { wanted, .. } => {
            format!("make a runner on a machine that is {wanted}: `make runner` in bcvk's source")
        }
        _ => return None,
    })
}

/// Returns what to do about a snapshot that is not there, or cannot be had.
fn snapshot_hint(error: &HostError) -> Option<String> {
    Some(match error {
        HostError::NotResumable(_) | HostError::NoSnapshot => {
            "--warm auto boots a VM that cannot be resumed, and makes a snapshot of it if it can"
                .to_owned()
        }
        HostError::NoSuchSnapshot(_) => {
            "`bcvk ephemeral snapshots ls` shows which there are".to_owned()
        }
        HostError::SnapshotInUse(_) => {
            "a VM is being resumed from it or saved to it; `bcvk ephemeral ps` shows VMs".to_owned()
        }
        _ => return None,
    })
}

/// Returns what to do about a complaint of podman's, or of the runtime's below it.
pub(super) fn podman_hint(stderr: &str) -> Option<String> {
    let says = |words: &str| stderr.contains(words);
    let hint = if says("network not found") {
        "`podman network ls` lists the networks there are"
    } else if says("address already in use") {
        "`ss -ltnup` shows who has the port; `--publish IP::GUEST` takes one that is free"
    } else if says("setting rlimit") || says("setrlimit") {
        // These are runc's words, and crun's.
        "podman's containers may open more files (default_ulimits in containers.conf) than \
         `ulimit -Hn` allows here: raise the one or lower the other"
    } else if says("no space left on device") {
        "`podman system df` shows what fills its storage, `podman image prune` removes images that \
         have no name any more"
    } else if says("hybrid mode") {
        "crun does not work with this machine's control groups, but runc does: install it, and put \
         `runtime = \"runc\"` under [engine] in /etc/containers/containers.conf"
    } else {
        return missing_helper(stderr).map(|package| format!("install it: {package}"));
    };
    Some(hint.to_owned())
}

/// Returns the package of the program that podman, or what works for it, says it has not found.
fn missing_helper(stderr: &str) -> Option<String> {
    let is_missing = |program: &str| {
        [
            format!("exec: \"{program}\": executable file not found"),
            format!("could not find {program}"),
            format!("could not find \"{program}\""),
            format!("could not find a working {program} binary"),
            format!("OCI runtime \"{program}\" not found"),
        ]
        .iter()
        .any(|words| stderr.contains(words))
    };
    [
        ("newuidmap", "uidmap", "shadow-utils"),
        ("newgidmap", "uidmap", "shadow-utils"),
        ("slirp4netns", "slirp4netns", "slirp4netns"),
        ("pasta", "passt", "passt"),
        ("netavark", "netavark", "netavark"),
        ("conmon", "conmon", "conmon"),
        ("crun", "crun", "crun"),
        ("runc", "runc", "runc"),
    ]
    .iter()
    .find(|(program, ..)| is_missing(program))
    .map(|(_, debian, fedora)| install(debian, fedora))
}

/// Returns what to do about a file of the user's that cannot be what it was given for.
fn file_hint(error: &HostError) -> Option<String> {
    Some(match error {
        HostError::DiskNotRegular(_) => {
            "copy the device into a file, or let the VM have the files on it with --bind".to_owned()
        }
        HostError::DiskLooksQcow2 { file, name } => format!(
            "give its format: {0}:{name}:qcow2 (or {0}:{name}:raw, if the VM is to see the file as it is)",
            file.display()
        ),
        HostError::DiskNotQcow2(file) => format!(
            "`qemu-img info {}` says what it is; without `:qcow2` it is read as raw",
            word(file)
        ),
        HostError::DiskHasBacking(file) => format!(
            "make it whole: `qemu-img convert -O qcow2 {} WHOLE.qcow2`",
            word(file)
        ),
        HostError::PathNotText(_) => {
            "rename it, or `mount --bind` it at a path that is text".to_owned()
        }
        HostError::VmDir { dir, source } if source.kind() == ErrorKind::StorageFull => format!(
            "`df -h {}` shows how full it is; `bcvk ephemeral ps -a` lists the VMs that have files \
             there",
            word(dir)
        ),
        HostError::NoUnits(_) => {
            "units are files such as NAME.service, in the directory itself or in its subdirectory \
             system"
                .to_owned()
        }
        HostError::Ignition { path, source } if source.kind() == ErrorKind::Other => {
            format!(
                "`butane --strict {} >config.ign` makes one of Butane's YAML",
                word(path)
            )
        }
        HostError::Disk { path, source }
        | HostError::OutputFile { path, source }
        | HostError::Picture { path, source }
            if source.kind() == ErrorKind::NotFound =>
        {
            format!(
                "`mkdir -p {}` makes its directory, if that is the right place",
                word(parent(path))
            )
        }
        HostError::ShareSource { path, source }
        | HostError::Disk { path, source }
        | HostError::Units { dir: path, source }
        | HostError::Ignition { path, source }
        | HostError::OutputFile { path, source }
        | HostError::Picture { path, source }
        | HostError::VmDir { dir: path, source } => return path_hint(path, source.kind()),
        _ => return None,
    })
}

/// Returns a command that shows why a path of the user's cannot be used.
fn path_hint(path: &Path, why: ErrorKind) -> Option<String> {
    match why {
        ErrorKind::NotFound => Some(format!("`ls {}` shows what there is", word(parent(path)))),
        ErrorKind::PermissionDenied => Some(format!(
            "`namei -l {}` shows who may enter each directory on the way",
            word(path)
        )),
        _ => None,
    }
}

fn vm_hint(failure: &Failure) -> Option<String> {
    let hint = failure.hint.clone();
    let unready_guest = failure.kind == FailureKind::Guest && failure.phase < Phase::Ready;
    hint.or_else(|| unready_guest.then(|| "--console shows the whole boot".to_owned()))
}

/// Returns the directory that a path is in.
fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Quotes a path as a word of the command in a hint, which is there to be copied into a shell.
fn word(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

/// Returns what to do about an image whose name only local builds have.
fn build(reference: &str) -> String {
    let reference = quote(reference);
    format!("`podman build -t {reference} .` makes it; `podman images` lists what is here")
}

/// Says how to fit a VM into `available` memory. The processes beside the guest need some of it too.
fn memory_that_fits(available: MemorySize) -> String {
    const STEP: u32 = 256;
    let mib = available.mib().saturating_sub(STEP) / STEP * STEP;
    if mib >= 2 * MemorySize::MIN.mib() {
        format!("give less with --memory, such as --memory {mib}M")
    } else {
        "end something else first (`bcvk ephemeral ps` lists VMs), or give less with --memory"
            .to_owned()
    }
}

/// Returns the command that installs a tool here, by the distribution's own package manager.
fn package(tool: Tool) -> String {
    match tool {
        Tool::Podman => install("podman", "podman"),
        Tool::QemuImg => install("qemu-utils", "qemu-img"),
        Tool::Ssh => install("openssh-client", "openssh-clients"),
        // Fedora and its derivatives name only the QEMU of the machine's own architecture so.
        Tool::Qemu(arch) => {
            let (debian, fedora) = match arch {
                Arch::X86_64 => ("qemu-system-x86", "qemu-system-x86-core"),
                Arch::Aarch64 => ("qemu-system-arm", "qemu-system-aarch64-core"),
            };
            let native = Arch::host() == Some(arch);
            install(debian, if native { "qemu-kvm" } else { fedora })
        }
    }
}

fn install(debian: &str, fedora: &str) -> String {
    if Path::new("/usr/bin/apt-get").exists() {
        format!("`apt-get install {debian}`")
    } else {
        format!("`dnf install {fedora}`")
    }
}

/// Returns the part of a reference before the first slash, if that is a host.
fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host == "localhost" || host.contains(['.', ':']) => host,
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Report;
    use super::*;

    #[test]
    fn a_helper_that_podman_lacks_is_told_from_what_it_could_not_do() {
        for (stderr, package) in [
            (
                r#"Error: could not find slirp4netns, the network namespace can't be configured: exec: "slirp4netns": executable file not found in $PATH"#,
                "slirp4netns",
            ),
            (
                r#"Error: default OCI runtime "crun" not found: invalid argument"#,
                "crun",
            ),
            (
                r#"Error: command required for rootless mode with multiple IDs: exec: "newuidmap": executable file not found in $PATH"#,
                "install uidmap",
            ),
        ] {
            let hint = podman_hint(stderr).expect(stderr);
            assert!(hint.contains(package) || hint.contains("dnf"), "{hint}");
        }
        let other = "Error: runc: runc create failed: mounting \"/srv\": no such file or directory";
        assert_eq!(podman_hint(other), None);
    }

    #[test]
    fn a_hint_can_be_copied_into_a_shell() {
        let path = "/a b/$(touch x);'\u{1b}[31m";
        let error = HostError::DiskNotQcow2(path.into());
        let hint = Report::of(&error).hint.expect("a hint");
        let command = hint.split('`').nth(1).expect("a command");
        let printed = "/a b/$(touch x);'";
        assert_eq!(
            quote(printed),
            command.strip_prefix("qemu-img info ").expect("its path")
        );
        let error = HostError::ImageMissing {
            reference: "quay.io/x; reboot".to_owned(),
        };
        let hint = Report::of(&error).hint.expect("a hint");
        assert_eq!(hint, "`podman pull 'quay.io/x; reboot'` gets it");
    }
}
