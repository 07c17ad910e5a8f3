//! Parts of hints.

use std::io::ErrorKind;
use std::path::Path;

use bcvk_contract::spec::{Arch, MemorySize};
use bcvk_contract::status::{Failure, Remedy};
use bcvk_host::Tool;
use bcvk_host::shell::quote;

/// Returns what to do about the failure of a VM, if its supervisor knows.
pub(super) fn failure_hint(failure: &Failure) -> Option<String> {
    let remedy = failure.remedy.map(|remedy| match remedy {
        Remedy::WithoutIgnition => {
            "leave --ignition out: nothing in the image would read the configuration"
        }
        Remedy::WithoutCloudInit => {
            "leave --cloud-init out: nothing in the image would read the user data"
        }
        Remedy::WithoutSsh => "boot it with `bcvk ephemeral run --no-ssh-keygen --console`",
        Remedy::OwnLogin => "leave out --login image: bcvk's own way in needs none of it",
        Remedy::BootIfNeeded => "--warm auto boots a VM that cannot be resumed",
        Remedy::Boot => "--warm off boots it instead",
    });
    match (failure.hint.as_deref(), remedy) {
        (Some(hint), Some(remedy)) => Some(format!("{hint}, or {remedy}")),
        (hint, remedy) => hint.or(remedy).map(str::to_owned),
    }
}

/// Returns what to do about a complaint of podman's, or of the runtime's below it.
pub(super) fn podman_hint(stderr: &str) -> Option<String> {
    let says = |words: &str| stderr.contains(words);
    let hint = if says("network not found") {
        "`podman network ls` lists the networks there are"
    } else if says("address already in use") {
        "`ss -ltnup` shows who has the port; `--publish IP::GUEST` takes one that is free"
    } else if says("no space left on device") {
        "`podman system df` shows what fills its storage, `podman image prune` removes images that \
         have no name any more"
    } else if says("unknown flag: --hooks-dir") {
        "this podman is the client of a service (`remote` under [engine] in containers.conf, or \
         podman-remote); a VM needs podman itself, on this machine"
    } else if says("/dev/net/tun") {
        "containers cannot have a network of their own here: `ls -l /dev/net/tun` shows whether you may \
         open it; --network host shares this machine's"
    } else if says("mounting read/only store images")
        || says("mounting image volume") && says("layer not known")
    {
        "podman mounts no image that it has only in a read-only store (additionalimagestores): \
         `podman commit \"$(podman create IMAGE true)\" localhost/NAME` makes one that can be booted"
    } else if says("RunRoot is pointing to a path") {
        "podman's directory went with its user's last session: `loginctl enable-linger` keeps it, \
         and `machinectl shell USER@` begins a session"
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

/// Returns a command that makes the directory of a file of the user's, or shows why it cannot be used.
pub(super) fn file_hint(path: &Path, why: ErrorKind) -> Option<String> {
    match why {
        ErrorKind::NotFound => Some(format!(
            "`mkdir -p {}` makes its directory, if that is the right place",
            word(parent(path))
        )),
        other => path_hint(path, other),
    }
}

/// Returns a command that shows why a path of the user's cannot be used.
pub(super) fn path_hint(path: &Path, why: ErrorKind) -> Option<String> {
    match why {
        ErrorKind::NotFound => Some(format!("`ls {}` shows what there is", word(parent(path)))),
        ErrorKind::PermissionDenied => Some(format!(
            "`namei -l {}` shows who may enter each directory on the way",
            word(path)
        )),
        _ => None,
    }
}

/// Returns the directory that a path is in.
pub(super) fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Quotes a path as a word of the command in a hint, which is there to be copied into a shell.
pub(super) fn word(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

/// Returns what to do about an image whose name only local builds have.
pub(super) fn build(reference: &str) -> String {
    let reference = quote(reference);
    format!("`podman build -t {reference} .` makes it; `podman images` lists what is here")
}

/// Says how to fit a VM into `available` memory. The processes beside the guest need some of it too.
pub(super) fn memory_that_fits(available: MemorySize) -> String {
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
pub(super) fn package(tool: Tool) -> String {
    match tool {
        Tool::Podman => install("podman", "podman"),
        Tool::QemuImg => install("qemu-utils", "qemu-img"),
        Tool::Ssh | Tool::Scp => install("openssh-client", "openssh-clients"),
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

pub(super) fn install(debian: &str, fedora: &str) -> String {
    if Path::new("/usr/bin/apt-get").exists() {
        format!("`apt-get install {debian}`")
    } else {
        format!("`dnf install {fedora}`")
    }
}

/// Returns the part of a reference before the first slash, if that is a host.
pub(super) fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host == "localhost" || host.contains(['.', ':']) => host,
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use bcvk_host::{FileError, ImageError};

    use super::super::CommandError;
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
        let error = CommandError::from(FileError::DiskNotQcow2(path.into()));
        let hint = error.hints.first().expect("a hint");
        let command = hint.split('`').nth(1).expect("a command");
        let printed = "/a b/$(touch x);'";
        assert_eq!(
            quote(printed),
            command.strip_prefix("qemu-img info ").expect("its path")
        );
        let error = CommandError::from(ImageError::Missing {
            reference: "quay.io/x; reboot".to_owned(),
        });
        assert_eq!(error.hints, ["`podman pull 'quay.io/x; reboot'` gets it"]);
    }
}
