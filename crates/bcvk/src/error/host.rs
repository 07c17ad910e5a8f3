//! Kinds and hints of the libraries' errors.

use std::io::ErrorKind;

use bcvk_contract::linkage::NotStatic;
use bcvk_contract::spec::SpecError;
use bcvk_contract::status::{FailureKind, OUT_OF_MEMORY, Phase};
use bcvk_host::shell::quote;
use bcvk_host::{FileError, HostError, ImageError, Operation, Tool, WatchError};

use super::hint::{
    build, failure_hint, file_hint, install, memory_that_fits, package, parent, path_hint,
    podman_hint, registry, word,
};
use super::{Explain, Kind, Words};

impl Explain for HostError {
    fn kind(&self) -> Kind {
        match self {
            Self::Image(error) => error.kind(),
            Self::File(error) => error.kind(),
            Self::ToolMissing(_)
            | Self::NoUserNetwork(_)
            | Self::QemuOutsideUsr(_)
            | Self::NoKvm { .. }
            | Self::FewOpenFiles { .. }
            | Self::VmDir { .. } => Kind::Machine,
            Self::Podman {
                action: Operation::Start,
                stderr,
            } if podman_hint(stderr).is_none() => Kind::Machine,
            Self::NestedArch(_) => Kind::Usage,
            Self::UsrNotMerged(_)
            | Self::FewSubIds { .. }
            | Self::RemotePodman { .. }
            | Self::NestedOff { .. }
            | Self::MemoryTooLarge { .. }
            | Self::NameTaken { .. }
            | Self::Podman { .. }
            | Self::Io { .. } => Kind::Host,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Image(error) => return error.hint(),
            Self::File(error) => return error.hint(),
            Self::ToolMissing(tool @ Tool::Qemu(_)) => format!(
                "install it: {}; or let --runner bring it along",
                package(*tool)
            ),
            Self::ToolMissing(tool) => format!("install it: {}", package(*tool)),
            Self::RemotePodman { variable } => format!("`unset {variable}` lets podman work here"),
            Self::NoUserNetwork(_) => {
                "install a QEMU that has it, or let --runner bring one along".to_owned()
            }
            Self::QemuOutsideUsr(_) => {
                "install your distribution's QEMU, and put its directory first in PATH".to_owned()
            }
            Self::UsrNotMerged(_) => format!("merge it: {}", install("usrmerge", "filesystem")),
            Self::FewSubIds { user, .. } => format!(
                "root adds some with `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \
                 {}`; then `podman system migrate`",
                quote(user)
            ),
            Self::NoKvm { remedy, .. } => match remedy {
                Some(remedy) => format!("{remedy}; or use --accel auto (or tcg) to emulate"),
                None => "use --accel auto (or tcg) to emulate".to_owned(),
            },
            Self::NestedOff { module } => format!(
                "`sudo modprobe -r {module} && sudo modprobe {module} nested=1` turns it on while no VM \
                 runs; or use --accel tcg to emulate"
            ),
            Self::MemoryTooLarge { available, .. } => memory_that_fits(*available),
            Self::FewOpenFiles { needed, .. } => format!(
                "`ulimit -Hn` shows the limit; root raises it with `prlimit --nofile={needed} --pid \
                 $$`, or for good in /etc/security/limits.conf"
            ),
            Self::NameTaken { name } => {
                format!("choose another --name, or `podman rm -f {name}` removes the old one")
            }
            Self::Podman { action, stderr } => {
                return podman_hint(stderr).or_else(|| {
                    // For the needs of a start, `bcvk doctor` is the better check.
                    (*action != Operation::Start)
                        .then(|| "`podman info` shows whether podman itself works here".to_owned())
                });
            }
            Self::NestedArch(_) | Self::Io { .. } => return None,
            Self::VmDir { dir, source } if source.kind() == ErrorKind::StorageFull => format!(
                "`df -h {}` shows how full it is; `bcvk ephemeral ps -a` lists the VMs that have \
                 files there",
                word(dir)
            ),
            Self::VmDir { dir, source } => return path_hint(dir, source.kind()),
        })
    }

    fn words(&self) -> Words {
        match self {
            Self::Podman { stderr, .. } => Words {
                causes: stderr.lines().map(str::to_owned).collect(),
                ..Words::default()
            },
            _ => Words::default(),
        }
    }
}

impl Explain for ImageError {
    fn kind(&self) -> Kind {
        match self {
            Self::Name { .. } => Kind::Usage,
            Self::Missing { .. }
            | Self::PullFailed { .. }
            | Self::SteersRuntime { .. }
            | Self::Arch { .. } => Kind::Image,
            Self::NotARunner { .. } | Self::RunnerVersion { .. } | Self::RunnerArch { .. } => {
                Kind::Host
            }
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { reference } => match registry(reference) {
                "localhost" => build(reference),
                _ => format!("`podman pull {}` gets it", quote(reference)),
            },
            Self::Name { .. } => "`bcvk images list` shows the names there are".to_owned(),
            Self::PullFailed { reference } => match registry(reference) {
                "localhost" => build(reference),
                transport if transport.ends_with(':') => {
                    "check the path; containers-transports(5) describes what may stand there"
                        .to_owned()
                }
                registry => format!(
                    "check the name, or log in: `podman login {}`",
                    quote(registry)
                ),
            },
            Self::SteersRuntime { reference, .. } => format!(
                "build it without: `podman image inspect --format '{{{{json .Annotations}}}}' {}` \
                 lists what it has",
                quote(reference)
            ),
            Self::Arch { reference, .. } => format!(
                "`podman pull --arch ARCH {}` gets it for another architecture, if it is made for \
                 that",
                quote(reference)
            ),
            Self::NotARunner { .. } | Self::RunnerVersion { .. } => {
                "`make runner` in bcvk's source makes localhost/bcvk-runner of this version"
                    .to_owned()
            }
            Self::RunnerArch { wanted, .. } => format!(
                "make a runner on a machine that is {wanted}: `make runner` in bcvk's source"
            ),
        })
    }
}

impl Explain for FileError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Spec(error) => return error.hint(),
            Self::Share { path, source } if source.kind() == ErrorKind::NotFound => format!(
                "`mkdir -p {}` makes it, if that is the right place",
                word(path)
            ),
            Self::ShareNotDirectory(path) => {
                format!("share the directory it is in: {}", parent(path).display())
            }
            Self::Disk { path, source } | Self::Output { path, source } => {
                return file_hint(path, source.kind());
            }
            Self::DiskNotRegular(_) => {
                "copy the device into a file, or let the VM have the files on it with --bind"
                    .to_owned()
            }
            Self::DiskLooksQcow2 { file, name } => format!(
                "give its format: {0}:{name}:qcow2 (or {0}:{name}:raw, if the VM is to see the file \
                 as it is)",
                file.display()
            ),
            Self::DiskNotQcow2(file) => format!(
                "`qemu-img info {}` says what it is; without `:qcow2` it is read as raw",
                word(file)
            ),
            Self::DiskHasBacking(file) => format!(
                "make it whole: `qemu-img convert -O qcow2 {} WHOLE.qcow2`",
                word(file)
            ),
            Self::NoUnits(_) => {
                "units are files such as NAME.service, in the directory itself or in its \
                 subdirectory system"
                    .to_owned()
            }
            Self::Ignition { path, source } if source.kind() == ErrorKind::Other => format!(
                "`butane --strict {} >config.ign` makes one of Butane's YAML",
                word(path)
            ),
            Self::UserData { source, .. } if source.kind() == ErrorKind::Other => {
                "user data is text that begins with `#cloud-config`, `#!` or another of cloud-init's \
                 words"
                    .to_owned()
            }
            Self::Share { path, source }
            | Self::UserData { path, source }
            | Self::Units { dir: path, source }
            | Self::Ignition { path, source } => {
                return path_hint(path, source.kind());
            }
            Self::NotText(_) => "rename it, or `mount --bind` it at a path that is text".to_owned(),
        })
    }
}

impl Explain for WatchError {
    fn kind(&self) -> Kind {
        match self {
            Self::Vm(failure) => match failure.kind {
                FailureKind::Image => Kind::Image,
                FailureKind::Host => Kind::Host,
                FailureKind::Guest => Kind::Guest {
                    ready: failure.phase >= Phase::Ready,
                },
            },
            Self::SupervisorNotStarted { .. } => Kind::Image,
            Self::SupervisorVanished { .. } | Self::Detached => Kind::Host,
            Self::Stopped => Kind::Ended,
            Self::ReadyTimeout { .. } => Kind::Timeout,
            Self::Interrupted { signal } => Kind::Interrupted { signal: *signal },
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Vm(failure) => {
                let unready_guest = self.kind() == Kind::Guest { ready: false };
                return failure_hint(failure).or_else(|| {
                    unready_guest.then(|| "--console shows the whole boot".to_owned())
                });
            }
            Self::SupervisorNotStarted { .. } => {
                "`bcvk doctor` tries whether containers start here; `bcvk ephemeral run --debug \
                 IMAGE` opens a shell in this one"
            }
            Self::SupervisorVanished { .. } => OUT_OF_MEMORY,
            Self::Stopped => {
                "`podman stop` and `bcvk ephemeral stop` do that, and so does a shutdown of this \
                 machine"
            }
            Self::ReadyTimeout { .. } => "--timeout gives it longer; --console shows the boot",
            Self::Detached | Self::Interrupted { .. } => return None,
        };
        Some(hint.to_owned())
    }

    fn words(&self) -> Words {
        match self {
            Self::Vm(failure) => Words::from(&**failure),
            Self::SupervisorVanished {
                phase,
                console_tail,
            } => Words {
                phase: Some(*phase),
                console_tail: console_tail.clone(),
                ..Words::default()
            },
            Self::ReadyTimeout {
                starting,
                console_tail,
                ..
            } => Words::of_slow_boot(starting, console_tail),
            Self::SupervisorNotStarted { .. }
            | Self::Stopped
            | Self::Detached
            | Self::Interrupted { .. } => Words::default(),
        }
    }
}

impl Explain for SpecError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    /// Returns the option to use instead; what is right otherwise, the message says itself.
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::ShareOptions { .. } => "--ro-bind makes a read-only share",
            Self::EnvLines { .. } => "--ro-bind shares a directory that has the file",
            Self::TooManyDisks { .. } => "--bind shares directories",
            Self::VarTooLarge { .. } => {
                "--memory and --add-swap give the VM more, and --var-disk puts /var on a disk"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Explain for NotStatic {
    fn kind(&self) -> Kind {
        Kind::Host
    }

    fn hint(&self) -> Option<String> {
        Some(Self::HINT.to_owned())
    }
}
