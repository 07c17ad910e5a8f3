//! Errors of the supervisor when a VM does not come up, or does not stay up: every sentence, and its
//! remedy.

use std::error::Error;
use std::io;

use bcvk_contract::linkage::NotStatic;
use bcvk_contract::status::{Failure, FailureKind, OUT_OF_MEMORY, Phase, Remedy, causes};

use crate::children::Role;

/// Cause of a problem: an error, or somebody's words.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

/// Reason why a VM cannot run, or has stopped running.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("image {image} cannot boot")]
    Unbootable {
        image: String,
        #[source]
        cause: Cause,
        hint: Option<String>,
    },
    #[error("image {image} has kernel arguments that cannot be used")]
    KernelArguments {
        image: String,
        #[source]
        cause: Cause,
    },
    #[error("image {0} has no systemd to boot with")]
    NoSystemd(String),
    #[error("image {0} does not support Ignition")]
    NoIgnition(String),
    #[error("image {0} has no cloud-init that runs when it boots")]
    NoCloudInit(String),
    #[error("image {0} has no shell, so nobody could log in")]
    NoShell(String),
    #[error("image {0} has no sshd to log in through")]
    NoSshd(String),
    #[error("image {image} masks its sshd, {unit}, so nobody could log in through it")]
    SshdMasked { image: String, unit: String },
    #[error("image {image} does not start its sshd: {unit} is disabled")]
    SshdDisabled { image: String, unit: String },
    #[error("image {0} has no unit that starts its sshd")]
    SshdWithoutUnit(String),
    #[error("image {0} gives root no shell that runs commands, so its sshd would end each session")]
    RootWithoutShell(String),
    #[error("image {0} has no directory /root, so there is no place for the key to log in with")]
    NoRootHome(String),

    #[error(transparent)]
    NotStatic(#[from] NotStatic),
    #[error("cannot open the image")]
    OpenImage(#[source] io::Error),
    #[error("cannot look into the image")]
    LookIntoImage(#[source] io::Error),
    #[error("cannot make a share's mount point")]
    MountPoint(#[source] io::Error),
    #[error("cannot read bcvk's own program")]
    OwnProgram(#[source] io::Error),
    #[error("cannot put the guest's files into memory")]
    FilesInMemory(#[source] io::Error),
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
    #[error("cannot start the file servers")]
    StartFileServers(#[source] io::Error),
    #[error("cannot start QEMU")]
    StartQemu(#[source] io::Error),
    #[error("the VM cannot be resumed from its snapshot")]
    Resume(#[source] Cause),
    #[error("{0} ended while the VM was running")]
    FileServerEnded(Role),
    #[error("the host has no space left for what the guest writes to {0}")]
    HostFull(String),
    #[error("QEMU was built without user networking (libslirp)")]
    NoUserNetwork,
    #[error("QEMU ended unexpectedly")]
    QemuEnded {
        /// True if SIGKILL ended QEMU.
        killed: bool,
    },

    #[error("the guest's kernel panicked")]
    Panic(#[source] Cause),
    #[error("the guest cannot make the image its root")]
    Root(#[source] Cause),
    #[error("the guest's boot ended in emergency mode")]
    Emergency,
    #[error("the guest could not start its services")]
    Services,
    #[error("the guest is up, but its sshd does not answer")]
    Sshd,
    #[error("the guest is up, but what takes sessions in it does not answer")]
    Login,
    #[error("the guest did not take what it was given")]
    NotTaken(#[source] Cause),
    #[error("the VM was lost while it was saved or taken back")]
    Lost(#[source] Cause),
    #[error("the guest {} before {}", if *.rebooted { "rebooted" } else { "powered off" }, if *.ready { "its command had ended" } else { "it was ready" })]
    GuestEnded {
        rebooted: bool,
        /// True if the VM had come so far as to run a command.
        ready: bool,
    },
}

impl Problem {
    pub(super) const fn kind(&self) -> FailureKind {
        match self {
            Self::Unbootable { .. }
            | Self::KernelArguments { .. }
            | Self::NoSystemd(_)
            | Self::NoIgnition(_)
            | Self::NoCloudInit(_)
            | Self::NoShell(_)
            | Self::NoSshd(_)
            | Self::SshdMasked { .. }
            | Self::SshdDisabled { .. }
            | Self::SshdWithoutUnit(_)
            | Self::RootWithoutShell(_)
            | Self::NoRootHome(_) => FailureKind::Image,
            Self::NotStatic(_)
            | Self::OpenImage(_)
            | Self::LookIntoImage(_)
            | Self::MountPoint(_)
            | Self::OwnProgram(_)
            | Self::FilesInMemory(_)
            | Self::Signals(_)
            | Self::StartFileServers(_)
            | Self::StartQemu(_)
            | Self::Resume(_)
            | Self::Lost(_)
            | Self::FileServerEnded(_)
            | Self::HostFull(_)
            | Self::NoUserNetwork
            | Self::QemuEnded { .. } => FailureKind::Host,
            Self::Panic(_)
            | Self::Root(_)
            | Self::Emergency
            | Self::Services
            | Self::Sshd
            | Self::Login
            | Self::NotTaken(_)
            | Self::GuestEnded { .. } => FailureKind::Guest,
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Unbootable { hint, .. } => hint.as_deref(),
            Self::KernelArguments { .. } => {
                Some("mend them in the image's build; bootc reads them by the same rules")
            }
            Self::NoSystemd(_) => {
                Some("bcvk boots bootc images; start from one, such as quay.io/fedora/fedora-bootc")
            }
            Self::NoCloudInit(_) => Some("install and enable cloud-init in the image"),
            Self::NoSshd(_) => Some("install openssh-server in the image"),
            Self::NoShell(_) => Some("install bash, or another /bin/sh, in the image"),
            Self::SshdMasked { .. } => Some("unmask it in the image's build: RUN systemctl unmask"),
            Self::SshdDisabled { .. } => {
                Some("enable it in the image's build: RUN systemctl enable")
            }
            Self::SshdWithoutUnit(_) => Some("add one in the image's build"),
            Self::RootWithoutShell(_) => {
                Some("give root one in the image's build: RUN usermod -s /bin/sh root")
            }
            Self::NoRootHome(_) => Some("make one in the image's build: RUN mkdir -m 0700 /root"),
            Self::NotStatic(_) => Some(NotStatic::HINT),
            Self::HostFull(_) => Some(
                "`df` shows the file systems; podman's storage (`podman info`) has what is made for a VM",
            ),
            Self::NoUserNetwork => {
                Some("install a QEMU that has it, or take one from a runner image")
            }
            Self::QemuEnded { killed: true } => Some(OUT_OF_MEMORY),
            _ => None,
        }
    }

    const fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::NoIgnition(_) => Some(Remedy::WithoutIgnition),
            Self::NoCloudInit(_) => Some(Remedy::WithoutCloudInit),
            Self::NoShell(_) => Some(Remedy::WithoutSsh),
            Self::NoSshd(_)
            | Self::SshdMasked { .. }
            | Self::SshdDisabled { .. }
            | Self::SshdWithoutUnit(_)
            | Self::RootWithoutShell(_)
            | Self::NoRootHome(_)
            | Self::Sshd => Some(Remedy::OwnLogin),
            Self::Resume(_) => Some(Remedy::BootIfNeeded),
            Self::NotTaken(_) => Some(Remedy::Boot),
            _ => None,
        }
    }
}

impl From<Problem> for Failure {
    /// Makes a failure before anything ran.
    fn from(problem: Problem) -> Self {
        Self {
            kind: problem.kind(),
            phase: Phase::Preparing,
            message: problem.to_string(),
            causes: causes(&problem),
            hint: problem.hint().map(str::to_owned),
            remedy: problem.remedy(),
            failed_units: Vec::new(),
            console_tail: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use bcvk_testkit::every;

    use super::*;

    fn image() -> String {
        "localhost/app".to_owned()
    }

    fn io() -> io::Error {
        io::Error::from_raw_os_error(28)
    }

    /// The snapshot is to be read as by somebody who does not know the code.
    #[test]
    fn every_problem_says_what_failed_and_what_mends_it() {
        let problems = every!(Problem as Problem {
            Unbootable: [
                Problem::Unbootable {
                    image: image(),
                    cause: "vmlinuz: not a kernel".into(),
                    hint: Some("what the cause has for a hint".to_owned()),
                },
                Problem::Unbootable { image: image(), cause: io().into(), hint: None },
            ],
            KernelArguments: [Problem::KernelArguments {
                image: image(),
                cause: "kargs.d/10.toml: expected a list".into(),
            }],
            NoSystemd: [Problem::NoSystemd(image())],
            NoIgnition: [Problem::NoIgnition(image())],
            NoCloudInit: [Problem::NoCloudInit(image())],
            NoShell: [Problem::NoShell(image())],
            NoSshd: [Problem::NoSshd(image())],
            SshdMasked: [Problem::SshdMasked { image: image(), unit: "ssh.service".to_owned() }],
            SshdDisabled: [Problem::SshdDisabled { image: image(), unit: "ssh.service".to_owned() }],
            SshdWithoutUnit: [Problem::SshdWithoutUnit(image())],
            RootWithoutShell: [Problem::RootWithoutShell(image())],
            NoRootHome: [Problem::NoRootHome(image())],
            NotStatic: [Problem::NotStatic(NotStatic)],
            OpenImage: [Problem::OpenImage(io())],
            LookIntoImage: [Problem::LookIntoImage(io())],
            MountPoint: [Problem::MountPoint(io())],
            OwnProgram: [Problem::OwnProgram(io())],
            FilesInMemory: [Problem::FilesInMemory(io())],
            Signals: [Problem::Signals(io())],
            StartFileServers: [Problem::StartFileServers(io())],
            StartQemu: [Problem::StartQemu(io())],
            Resume: [Problem::Resume("its memory is damaged".into())],
            FileServerEnded: [Problem::FileServerEnded(Role::FileServer {
                serves: "/share".to_owned(),
                tag: "mount_share".to_owned(),
            })],
            HostFull: [Problem::HostFull("disk bcvk-var".to_owned())],
            NoUserNetwork: [Problem::NoUserNetwork],
            QemuEnded: [
                Problem::QemuEnded { killed: true },
                Problem::QemuEnded { killed: false },
            ],
            Panic: [Problem::Panic("Attempted to kill init!".into())],
            Root: [Problem::Root("cannot mount rootfs: No such device".into())],
            Emergency: [Problem::Emergency],
            Services: [Problem::Services],
            Sshd: [Problem::Sshd],
            Login: [Problem::Login],
            NotTaken: [Problem::NotTaken("the agent does not answer".into())],
            Lost: [Problem::Lost("No space left on device (os error 28)".into())],
            GuestEnded: [
                Problem::GuestEnded { rebooted: true, ready: false },
                Problem::GuestEnded { rebooted: false, ready: true },
            ],
        });
        let mut text = String::new();
        for (name, problem) in problems {
            let Failure {
                kind,
                message,
                causes,
                hint,
                remedy,
                ..
            } = problem.into();
            let _ = writeln!(text, "-- {name}, {kind:?}\n{message}");
            for cause in causes {
                let _ = writeln!(text, "  caused by: {cause}");
            }
            if let Some(hint) = hint {
                let _ = writeln!(text, "  hint: {hint}");
            }
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "  remedy: {remedy:?}");
            }
        }
        insta::assert_snapshot!(text);
    }
}
