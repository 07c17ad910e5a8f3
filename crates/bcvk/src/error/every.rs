//! Every error as its user reads it, for reviewers to read as somebody who does not know the code.

use std::fmt::Write as _;
use std::io::Error;
use std::path::PathBuf;
use std::str::FromStr;

use bcvk_contract::checkpoint::Refusal;
use bcvk_contract::linkage::NotStatic;
use bcvk_contract::spec::{
    Arch, Fidelity, Initramfs, MemorySize, SpecError, Stream, Timeout, Warm,
};
use bcvk_contract::status::{Failure, FailureKind, OUT_OF_MEMORY, Phase, Remedy};
use bcvk_host::{
    AccelRequest, FileError, HostError, ImageError, Operation, PullPolicy, Tool, WatchError,
};
use bcvk_testkit::every;

use super::{CommandError, Explain, RequestError, UsageError};

fn text<E: Explain>(errors: Vec<(&str, E)>) -> String {
    let mut text = String::new();
    for (name, error) in errors {
        let error = CommandError::from(error);
        let (code, report) = (error.exit_code(), without_package(&error.report()));
        let _ = writeln!(text, "-- {name}, exit code {code}\n{report}");
    }
    text
}

/// Returns the report without the command that installs something, which depends on the machine.
fn without_package(text: &str) -> String {
    let command = ["`apt-get install ", "`dnf install "]
        .iter()
        .find_map(|c| text.split_once(c));
    match command {
        Some((before, rest)) => {
            let (_, after) = rest.split_once('`').expect("the end of a command");
            format!("{before}`(install)`{after}")
        }
        None => text.to_owned(),
    }
}

fn s(text: &str) -> String {
    text.to_owned()
}

fn missing() -> Error {
    Error::from_raw_os_error(2)
}

fn forbidden() -> Error {
    Error::from_raw_os_error(13)
}

fn full() -> Error {
    Error::from_raw_os_error(28)
}

fn path(path: &str) -> PathBuf {
    path.into()
}

fn failure(kind: FailureKind, phase: Phase, message: &str) -> Failure {
    Failure {
        kind,
        phase,
        message: s(message),
        causes: vec![],
        hint: None,
        remedy: None,
        failed_units: vec![],
        console_tail: vec![],
    }
}

fn lines() -> Vec<String> {
    vec![
        s("[  OK  ] Reached target network.target - Network."),
        s("login:"),
    ]
}

fn podman(action: Operation, stderr: &str) -> HostError {
    HostError::Podman {
        action,
        stderr: s(stderr),
    }
}

#[test]
fn of_the_host() {
    let gib = |gib: u64| MemorySize::from_mib(gib * 1024);
    let errors = every!(HostError as HostError {
        Image: [HostError::from(ImageError::Name { reference: s("Not An Image") })],
        File: [HostError::from(FileError::NotText(path("/srv/a\rb")))],
        ToolMissing: [
            HostError::ToolMissing(Tool::Podman),
            HostError::ToolMissing(Tool::Ssh),
            HostError::ToolMissing(Tool::Scp),
            HostError::ToolMissing(Tool::QemuImg),
        ],
        RemotePodman: [HostError::RemotePodman { variable: "CONTAINER_HOST" }],
        NoUserNetwork: [HostError::NoUserNetwork(path("/usr/libexec/qemu-kvm"))],
        QemuOutsideUsr: [HostError::QemuOutsideUsr(path("/opt/qemu/bin/qemu-system-x86_64"))],
        UsrNotMerged: [HostError::UsrNotMerged(path("/lib64"))],
        FewSubIds: [HostError::FewSubIds { user: s("ann"), file: "/etc/subuid" }],
        NoKvm: [
            HostError::NoKvm {
                obstacle: s("/dev/kvm cannot be opened: Permission denied (os error 13)"),
                remedy: Some(s("`usermod -aG kvm ann` lets you, once you have logged in anew")),
            },
            HostError::NoKvm { obstacle: s("there is no /dev/kvm"), remedy: None },
        ],
        NestedOff: [HostError::NestedOff { module: "kvm_intel" }],
        NestedArch: [HostError::NestedArch(Arch::Aarch64)],
        MemoryTooLarge: [
            HostError::MemoryTooLarge {
                asked: gib(64),
                whose: s("this machine"),
                total: gib(16),
                available: gib(9),
            },
            HostError::MemoryTooLarge {
                asked: gib(4),
                whose: s("the control group /user.slice"),
                total: gib(1),
                available: MemorySize::from_mib(300),
            },
        ],
        FewOpenFiles: [HostError::FewOpenFiles { allowed: 1024, needed: 4096 }],
        NameTaken: [HostError::NameTaken { name: s("web") }],
        Podman: [
            podman(Operation::InspectImage, "Error: database is locked"),
            podman(Operation::Start, "Error: unable to find network with name or ID x: network not found"),
            podman(Operation::Start, "Error: crun: mount: Operation not permitted"),
            podman(Operation::Start, "Error: unknown flag: --hooks-dir"),
            podman(Operation::Start, "Error: pasta failed: Failed to open() /dev/net/tun: No such device"),
            podman(Operation::Start, "Error: mounting image volume: mounting read/only store images is not allowed"),
            podman(Operation::Try, "RunRoot is pointing to a path (/run/user/1000/containers) which is not writable."),
            podman(Operation::Start, "Error: write /var/lib/containers/x: no space left on device"),
            podman(Operation::Try, "Error: could not find slirp4netns"),
            podman(Operation::List, "Error: database is locked"),
            podman(Operation::ListImages, "Error: database is locked"),
            podman(Operation::FindStorage, "Error: database is locked"),
            podman(Operation::Stop, "Error: database is locked"),
            podman(Operation::Remove, "Error: database is locked"),
        ],
        Io: [HostError::io("list VMs")(forbidden())],
        VmDir: [
            HostError::VmDir { dir: path("/run/user/1000/bcvk/vms/0123"), source: full() },
            HostError::VmDir { dir: path("/run/user/1000/bcvk/vms/0123"), source: forbidden() },
        ],
    });
    insta::assert_snapshot!(text(errors));
}

#[test]
fn of_images() {
    let reference = || s("quay.io/example/os:1");
    let errors = every!(ImageError as ImageError {
        Missing: [
            ImageError::Missing { reference: reference() },
            ImageError::Missing { reference: s("localhost/mine") },
        ],
        Name: [ImageError::Name { reference: s("Not An Image") }],
        PullFailed: [
            ImageError::PullFailed { reference: reference() },
            ImageError::PullFailed { reference: s("localhost/mine") },
            ImageError::PullFailed { reference: s("oci-archive:/srv/os.tar") },
        ],
        SteersRuntime: [ImageError::SteersRuntime {
            reference: reference(),
            annotation: s("run.oci.handler"),
        }],
        Arch: [ImageError::Arch { reference: reference(), found: s("riscv64") }],
        NotARunner: [ImageError::NotARunner { reference: s("localhost/mine") }],
        RunnerVersion: [ImageError::RunnerVersion {
            reference: s("localhost/bcvk-runner"),
            found: s("0.0.9"),
        }],
        RunnerArch: [ImageError::RunnerArch {
            reference: s("localhost/bcvk-runner"),
            found: Arch::X86_64,
            wanted: Arch::Aarch64,
        }],
    });
    insta::assert_snapshot!(text(errors));
}

#[test]
fn of_files() {
    let errors = every!(FileError as FileError {
        Spec: [FileError::Spec(SpecError::ShareHostEmpty { value: s(":x") })],
        Share: [
            FileError::Share { path: path("/srv/data"), source: missing() },
            FileError::Share { path: path("/root/data"), source: forbidden() },
        ],
        ShareNotDirectory: [FileError::ShareNotDirectory(path("/srv/data/file"))],
        Disk: [
            FileError::Disk { path: path("disks/a.img"), source: missing() },
            FileError::Disk { path: path("/root/a.img"), source: forbidden() },
        ],
        DiskNotRegular: [FileError::DiskNotRegular(path("/dev/sda"))],
        DiskLooksQcow2: [FileError::DiskLooksQcow2 { file: path("a.img"), name: s("data") }],
        DiskNotQcow2: [FileError::DiskNotQcow2(path("a.img"))],
        DiskHasBacking: [FileError::DiskHasBacking(path("a.qcow2"))],
        Units: [
            FileError::Units { dir: path("units"), source: missing() },
            FileError::Units { dir: path("/root/units"), source: forbidden() },
        ],
        NoUnits: [FileError::NoUnits(path("units"))],
        Ignition: [
            FileError::Ignition { path: path("c.yaml"), source: missing() },
            FileError::Ignition {
                path: path("c.yaml"),
                source: Error::other("expected value at line 1 column 1"),
            },
        ],
        UserData: [
            FileError::UserData { path: path("user-data"), source: missing() },
            FileError::UserData {
                path: path("user-data"),
                source: Error::other("its first line does not say what it is"),
            },
        ],
        Output: [
            FileError::Output { path: path("out/console"), source: missing() },
            FileError::Output { path: path("/root/out"), source: forbidden() },
        ],
        NotText: [FileError::NotText(path("/srv/a\rb"))],
    });
    insta::assert_snapshot!(text(errors));
}

#[test]
fn of_watched_vms() {
    let errors = every!(WatchError as WatchError {
        Vm: [
            WatchError::Vm(Box::new(Failure {
                causes: vec![s("No kernel found in the image: there is no /usr/lib/modules/*/vmlinuz")],
                hint: Some(s("boot a bootc image")),
                ..failure(FailureKind::Image, Phase::Preparing, "image x cannot boot")
            })),
            WatchError::Vm(Box::new(Failure {
                remedy: Some(Remedy::WithoutIgnition),
                ..failure(FailureKind::Image, Phase::Preparing, "image x does not support Ignition")
            })),
            WatchError::Vm(Box::new(Failure {
                remedy: Some(Remedy::WithoutSsh),
                ..failure(FailureKind::Image, Phase::Preparing, "image x has no shell")
            })),
            WatchError::Vm(Box::new(Failure {
                hint: Some(s("install openssh-server in the image")),
                remedy: Some(Remedy::OwnLogin),
                ..failure(FailureKind::Image, Phase::Preparing, "image x has no sshd")
            })),
            WatchError::Vm(Box::new(Failure {
                remedy: Some(Remedy::BootIfNeeded),
                ..failure(FailureKind::Host, Phase::Qemu, "the VM cannot be resumed from its snapshot")
            })),
            WatchError::Vm(Box::new(Failure {
                remedy: Some(Remedy::Boot),
                ..failure(FailureKind::Guest, Phase::Userspace, "the guest did not take what it was given")
            })),
            WatchError::Vm(Box::new(Failure {
                failed_units: vec![s("sysroot.mount: mount exited with status 32")],
                console_tail: lines(),
                ..failure(FailureKind::Guest, Phase::Kernel, "the guest's boot ended in emergency mode")
            })),
            WatchError::Vm(Box::new(Failure {
                causes: vec![s("it was ended by signal 9 (SIGKILL)")],
                hint: Some(s(OUT_OF_MEMORY)),
                ..failure(FailureKind::Host, Phase::Ready, "QEMU ended unexpectedly")
            })),
        ],
        SupervisorNotStarted: [WatchError::SupervisorNotStarted { reference: s("quay.io/example/os:1") }],
        SupervisorVanished: [WatchError::SupervisorVanished {
            phase: Phase::Userspace,
            console_tail: lines(),
        }],
        Stopped: [WatchError::Stopped],
        ReadyTimeout: [WatchError::ReadyTimeout {
            seconds: 300.2,
            phase: Phase::Userspace,
            starting: vec![s("NetworkManager-wait-online.service")],
            console_tail: lines(),
        }],
        Detached: [WatchError::Detached],
        Interrupted: [WatchError::Interrupted { signal: 2 }],
    });
    insta::assert_snapshot!(text(errors));
}

#[test]
fn of_options() {
    let errors = every!(UsageError as UsageError {
        Setting: [UsageError::Setting {
            place: s("/home/ann/.config/bcvk/config.toml"),
            problem: s("there is no setting memroy"),
        }],
        ExecuteOverSsh: [UsageError::ExecuteOverSsh { verb: "run-ssh" }],
        SshNeeded: [UsageError::SshNeeded { verb: "run-ssh" }],
        EarlyImageLogin: [UsageError::EarlyImageLogin],
        NoEvents: [UsageError::NoEvents("-i, -t, --debug and --dry-run")],
        StreamOverCommand: [UsageError::StreamOverCommand("--output journal")],
        IgnitionWithoutInitramfs: [UsageError::IgnitionWithoutInitramfs],
        PublishOnHostNetwork: [UsageError::PublishOnHostNetwork],
        VarTwice: [UsageError::VarTwice],
        Template: [UsageError::Template(s("there is no key 'Pid': known are ID, Names"))],
        FollowSeveral: [UsageError::FollowSeveral],
        CopyWithoutVm: [UsageError::CopyWithoutVm],
        CopyBetweenVms: [UsageError::CopyBetweenVms],
        NotResumable: [UsageError::NotResumable("its logs are kept")],
        ResultFile: [
            UsageError::ResultFile { what: "picture", path: path("out/boot.svg"), source: missing() },
            UsageError::ResultFile { what: "report", path: path("/root/check.xml"), source: forbidden() },
        ],
    });
    insta::assert_snapshot!(text(errors));
}

#[test]
fn of_checkpoints() {
    let refusals = every!(Refusal as Refusal {
        NotReady: [Refusal::NotReady],
        NoSuch: [Refusal::NoSuch],
        Exists: [Refusal::Exists],
        TooMany: [Refusal::TooMany],
        NoWayIn: [Refusal::NoWayIn],
        RunsCommands: [Refusal::RunsCommands],
        UsersDisk: [Refusal::UsersDisk(s("data"))],
        HostImages: [Refusal::HostImages],
        Failed: [Refusal::Failed(s("No space left on device (os error 28)"))],
    });
    let errors = refusals.into_iter().map(|(variant, refusal)| {
        let error = RequestError::Checkpoint {
            name: s("web"),
            checkpoint: Some(s("clean")),
            refusal,
        };
        (variant, error)
    });
    insta::assert_snapshot!(text(errors.collect()));
}

#[test]
#[allow(clippy::too_many_lines, reason = "a list")]
fn of_requests() {
    let name = || s("web");
    let errors = every!(RequestError as RequestError {
        NoSnapshot: [RequestError::NoSnapshot],
        NoSuchSnapshot: [RequestError::NoSuchSnapshot(s("12ab"))],
        SnapshotInUse: [RequestError::SnapshotInUse(s("12ab"))],
        NoSuchVm: [RequestError::NoSuchVm { name: name() }],
        NotAVm: [RequestError::NotAVm { name: name() }],
        NotRunning: [RequestError::NotRunning { name: name() }],
        StillRunning: [RequestError::StillRunning { name: name() }],
        NoSsh: [RequestError::NoSsh { name: name() }],
        NotPublished: [RequestError::NotPublished { name: name(), port: s("80/tcp") }],
        NotReady: [RequestError::NotReady { name: name(), phase: Phase::Kernel }],
        Checkpoint: [RequestError::Checkpoint {
            name: name(),
            checkpoint: None,
            refusal: Refusal::NoSuch,
        }],
        NeedsForce: [RequestError::NeedsForce],
        EndedBefore: [
            RequestError::EndedBefore { name: name(), awaited: s("it was ready"), failure: None },
            RequestError::EndedBefore {
                name: name(),
                awaited: s("it was ready"),
                failure: Some(Box::new(failure(
                    FailureKind::Guest,
                    Phase::Userspace,
                    "the guest powered off before it was ready",
                ))),
            },
        ],
        Timeout: [
            RequestError::Timeout {
                name: name(),
                state: s("was not ready"),
                phase: Some(Phase::Userspace),
                timeout: Timeout::from_secs(90),
                starting: vec![s("NetworkManager-wait-online.service")],
                console_tail: lines(),
            },
            RequestError::Timeout {
                name: name(),
                state: s("did not have unit nginx.service active"),
                phase: None,
                timeout: Timeout::from_secs(90),
                starting: vec![],
                console_tail: vec![],
            },
        ],
        UnitNotActive: [RequestError::UnitNotActive {
            name: name(),
            unit: s("nginx.service"),
            state: s("failed"),
        }],
        InGuest: [RequestError::InGuest {
            name: name(),
            action: "read the journal",
            stderr: s("Connection closed by remote host"),
        }],
    });
    insta::assert_snapshot!(text(errors));
}

/// Returns the error of a word that is no `T`.
fn unknown<T: FromStr<Err = SpecError>>() -> SpecError {
    "x".parse::<T>().err().expect("not a value")
}

#[test]
#[allow(clippy::too_many_lines, reason = "a list")]
fn of_values() {
    let value = || s("x");
    let errors = every!(SpecError as SpecError {
        MemorySyntax: [SpecError::MemorySyntax { value: value() }],
        MemoryNotWholeMib: [SpecError::MemoryNotWholeMib { value: value() }],
        MemoryTooSmall: [SpecError::MemoryTooSmall { value: value() }],
        MemoryTooLarge: [SpecError::MemoryTooLarge { value: value() }],
        Choice: [
            unknown::<AccelRequest>(),
            unknown::<Fidelity>(),
            unknown::<Initramfs>(),
            unknown::<PullPolicy>(),
            unknown::<Stream>(),
            unknown::<Warm>(),
        ],
        UnknownInstanceType: [SpecError::UnknownInstanceType {
            value: s("u1.huge"),
            nearest: "u1.large",
            known: s("u1.nano, u1.large"),
        }],
        VmName: [SpecError::VmName { value: value() }],
        UnknownArch: [SpecError::UnknownArch { value: value() }],
        ShareHostEmpty: [SpecError::ShareHostEmpty { value: s(":x") }],
        ShareTargetEmpty: [SpecError::ShareTargetEmpty { value: s("/x:") }],
        ShareUnnamed: [SpecError::ShareUnnamed { value: s("/") }],
        ShareGuestPath: [SpecError::ShareGuestPath { target: s("/../x") }],
        ShareOptions: [SpecError::ShareOptions { value: s("/x:/y:ro,z"), options: s("ro,z") }],
        ShareClash: [SpecError::ShareClash {
            first: path("/a/x"),
            second: path("/b/x"),
            guest_path: path("/run/virtiofs-mnt-x"),
        }],
        DiskFileEmpty: [SpecError::DiskFileEmpty { value: s(":x") }],
        DiskName: [SpecError::DiskName { name: value(), most: 20 }],
        DiskNameTaken: [SpecError::DiskNameTaken { name: s("bcvk-swap") }],
        DiskFormat: [SpecError::DiskFormat { value: s("a:b:vmdk"), format: s("vmdk") }],
        DiskClash: [SpecError::DiskClash {
            first: path("a.img"),
            second: path("b.img"),
            name: s("output"),
        }],
        TooManyDisks: [SpecError::TooManyDisks { given: 99, most: 24 }],
        SwapSize: [SpecError::SwapSize { value: value() }],
        VarSize: [SpecError::VarSize { value: value() }],
        VarTooLarge: [SpecError::VarTooLarge { size: 4096, most: 1664 }],
        VarCovered: [SpecError::VarCovered { host: path("/srv/var") }],
        MachineId: [SpecError::MachineId(value())],
        LogDirSyntax: [SpecError::LogDirSyntax { value: value() }],
        SerialPortSyntax: [SpecError::SerialPortSyntax { value: value() }],
        SerialPortReserved: [SpecError::SerialPortReserved { name: s("org.bcvk.x") }],
        SerialPortClash: [SpecError::SerialPortClash { name: value() }],
        TooManySerialPorts: [SpecError::TooManySerialPorts { given: 99, most: 28 }],
        PublishSyntax: [SpecError::PublishSyntax { value: value() }],
        PodName: [SpecError::PodName { value: value() }],
        PodPort: [SpecError::PodPort { value: s("80:80/udp") }],
        PublishPort: [SpecError::PublishPort { value: s("80:99999"), port: s("99999") }],
        PublishAddress: [SpecError::PublishAddress { value: s("x:80:80"), ip: value() }],
        PublishProtocol: [SpecError::PublishProtocol { value: s("80:80/sctp"), protocol: s("sctp") }],
        PublishRange: [SpecError::PublishRange { value: s("80-90:80-90") }],
        EnvSyntax: [SpecError::EnvSyntax { value: s("=x") }],
        EnvLines: [SpecError::EnvLines { name: s("CERT") }],
        EnvPattern: [SpecError::EnvPattern { value: s("LC_*") }],
        TimeoutSyntax: [SpecError::TimeoutSyntax { value: value() }],
        TimeoutZero: [SpecError::TimeoutZero { value: s("0") }],
        TimeoutTooLong: [SpecError::TimeoutTooLong { value: s("99999h") }],
        KargEmpty: [SpecError::KargEmpty],
        KargControl: [SpecError::KargControl { value: s("a\nb") }],
        KargSeveral: [SpecError::KargSeveral { value: s("a b") }],
        KargQuote: [SpecError::KargQuote { value: s("a=\"b") }],
        LabelSyntax: [SpecError::LabelSyntax { value: s("=x") }],
        LabelTaken: [SpecError::LabelTaken { key: s("bcvk.vm") }],
        Version: [SpecError::Version { found: 2, known: 1 }],
    });
    insta::assert_snapshot!(text(errors));
}

#[test]
fn of_the_program() {
    insta::assert_snapshot!(text(vec![("NotStatic", NotStatic)]));
}
