//! Every error as its user reads it, for reviewers to read as somebody who does not know the code.

use std::fmt::Write as _;
use std::io::Error;
use std::path::PathBuf;
use std::str::FromStr;

use bcvk_contract::linkage::NotStatic;
use bcvk_contract::spec::{
    Arch, Fidelity, Initramfs, MemorySize, SpecError, Stream, Timeout, Warm,
};
use bcvk_contract::status::{Failure, FailureKind, OUT_OF_MEMORY, Phase};
use bcvk_host::{AccelRequest, HostError, Operation, PullPolicy, Tool};
use bcvk_testkit::every;

use super::Report;

fn text(errors: Vec<(&str, HostError)>) -> String {
    let mut text = String::new();
    for (name, error) in errors {
        let report = Report::of(&error);
        let _ = writeln!(
            text,
            "-- {name}, exit code {}\n{}",
            report.code,
            installs(&report)
        );
    }
    text
}

/// Returns the report without the command that installs something, which depends on the machine.
fn installs(report: &Report) -> String {
    let text = report.to_string();
    let command = ["`apt-get install ", "`dnf install "]
        .iter()
        .find_map(|c| text.split_once(c));
    match command {
        Some((before, rest)) => {
            let (_, after) = rest.split_once('`').expect("the end of a command");
            format!("{before}`(install)`{after}")
        }
        None => text,
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
#[allow(clippy::too_many_lines, reason = "a list")]
fn of_the_host() {
    let gib = |gib: u64| MemorySize::from_mib(gib * 1024);
    let reference = || s("quay.io/example/os:1");
    let name = || s("web");
    let errors = every!(HostError as HostError {
        NotStatic: [HostError::NotStatic(NotStatic)],
        ToolMissing: [
            HostError::ToolMissing(Tool::Podman),
            HostError::ToolMissing(Tool::Ssh),
            HostError::ToolMissing(Tool::QemuImg),
        ],
        QemuOutsideUsr: [HostError::QemuOutsideUsr(path("/opt/qemu/bin/qemu-system-x86_64"))],
        UsrNotMerged: [HostError::UsrNotMerged(path("/lib64"))],
        FewSubIds: [HostError::FewSubIds { user: s("ann"), file: "/etc/subuid" }],
        ImageMissing: [
            HostError::ImageMissing { reference: reference() },
            HostError::ImageMissing { reference: s("localhost/mine") },
        ],
        ImageName: [HostError::ImageName { reference: s("Not An Image") }],
        PullFailed: [
            HostError::PullFailed { reference: reference() },
            HostError::PullFailed { reference: s("localhost/mine") },
        ],
        ImageArch: [HostError::ImageArch { reference: reference(), found: s("riscv64") }],
        ImageSteersRuntime: [HostError::ImageSteersRuntime {
            reference: reference(),
            annotation: s("run.oci.handler"),
        }],
        NotARunner: [HostError::NotARunner { reference: s("localhost/mine") }],
        RunnerVersion: [HostError::RunnerVersion {
            reference: s("localhost/bcvk-runner"),
            found: s("0.0.9"),
        }],
        RunnerArch: [HostError::RunnerArch {
            reference: s("localhost/bcvk-runner"),
            found: Arch::X86_64,
            wanted: Arch::Aarch64,
        }],
        SupervisorNotStarted: [HostError::SupervisorNotStarted { reference: reference() }],
        NoKvm: [
            HostError::NoKvm {
                obstacle: s("/dev/kvm cannot be opened: Permission denied (os error 13)"),
                remedy: Some(s("`usermod -aG kvm ann` lets you, once you have logged in anew")),
            },
            HostError::NoKvm { obstacle: s("there is no /dev/kvm"), remedy: None },
        ],
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
        ShareSource: [
            HostError::ShareSource { path: path("/srv/data"), source: missing() },
            HostError::ShareSource { path: path("/root/data"), source: forbidden() },
        ],
        ShareNotDirectory: [HostError::ShareNotDirectory(path("/srv/data/file"))],
        Disk: [
            HostError::Disk { path: path("disks/a.img"), source: missing() },
            HostError::Disk { path: path("/root/a.img"), source: forbidden() },
        ],
        DiskNotRegular: [HostError::DiskNotRegular(path("/dev/sda"))],
        DiskLooksQcow2: [HostError::DiskLooksQcow2 { file: path("a.img"), name: s("data") }],
        DiskNotQcow2: [HostError::DiskNotQcow2(path("a.img"))],
        DiskHasBacking: [HostError::DiskHasBacking(path("a.qcow2"))],
        Units: [
            HostError::Units { dir: path("units"), source: missing() },
            HostError::Units { dir: path("/root/units"), source: forbidden() },
        ],
        NoUnits: [HostError::NoUnits(path("units"))],
        Ignition: [
            HostError::Ignition { path: path("c.yaml"), source: missing() },
            HostError::Ignition {
                path: path("c.yaml"),
                source: Error::other("expected value at line 1 column 1"),
            },
        ],
        OutputFile: [
            HostError::OutputFile { path: path("out/console"), source: missing() },
            HostError::OutputFile { path: path("/root/out"), source: forbidden() },
        ],
        Picture: [
            HostError::Picture { path: path("out/boot.svg"), source: missing() },
            HostError::Picture { path: path("/root/boot.svg"), source: forbidden() },
        ],
        PathNotText: [HostError::PathNotText(path("/srv/a\rb"))],
        ExecuteOverSsh: [HostError::ExecuteOverSsh { verb: "run-ssh" }],
        NoEvents: [HostError::NoEvents("-i, -t, --debug and --dry-run")],
        NotResumable: [HostError::NotResumable("--ignition is given")],
        NoSnapshot: [HostError::NoSnapshot],
        NoSuchSnapshot: [HostError::NoSuchSnapshot(s("12ab"))],
        SnapshotInUse: [HostError::SnapshotInUse(s("12ab"))],
        NameTaken: [HostError::NameTaken { name: name() }],
        NoSuchVm: [HostError::NoSuchVm { name: name() }],
        NotAVm: [HostError::NotAVm { name: name() }],
        NotRunning: [HostError::NotRunning { name: name() }],
        StillRunning: [HostError::StillRunning { name: name() }],
        NoSsh: [HostError::NoSsh { name: name() }],
        SshNeeded: [HostError::SshNeeded { verb: "run-ssh" }],
        NotReady: [HostError::NotReady { name: name(), phase: Phase::Kernel }],
        NeedsForce: [HostError::NeedsForce],
        Podman: [
            podman(Operation::InspectImage, "Error: database is locked"),
            podman(Operation::Start, "Error: unable to find network with name or ID x: network not found"),
            podman(Operation::Start, "Error: crun: mount: Operation not permitted"),
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
        Vm: [
            HostError::Vm(Box::new(Failure {
                causes: vec![s("the image has no kernel: there is no /usr/lib/modules/*/vmlinuz")],
                hint: Some(s("boot a bootc image")),
                ..failure(FailureKind::Image, Phase::Preparing, "image x cannot boot")
            })),
            HostError::Vm(Box::new(Failure {
                failed_units: vec![s("sysroot.mount: mount exited with status 32")],
                console_tail: lines(),
                ..failure(FailureKind::Guest, Phase::Kernel, "the guest's boot ended in emergency mode")
            })),
            HostError::Vm(Box::new(Failure {
                causes: vec![s("it was ended by signal 9 (SIGKILL)")],
                hint: Some(s(OUT_OF_MEMORY)),
                ..failure(FailureKind::Host, Phase::Ready, "QEMU ended unexpectedly")
            })),
        ],
        SupervisorVanished: [HostError::SupervisorVanished {
            phase: Phase::Userspace,
            console_tail: lines(),
        }],
        Stopped: [HostError::Stopped],
        ReadyTimeout: [HostError::ReadyTimeout {
            seconds: 300.2,
            phase: s(Phase::Userspace.describe()),
            starting: vec![s("NetworkManager-wait-online.service")],
            console_tail: lines(),
        }],
        EndedBefore: [
            HostError::EndedBefore { name: name(), awaited: s("it was ready"), failure: None },
            HostError::EndedBefore {
                name: name(),
                awaited: s("it was ready"),
                failure: Some(Box::new(failure(
                    FailureKind::Guest,
                    Phase::Userspace,
                    "the guest powered off before it was ready",
                ))),
            },
        ],
        WaitTimeout: [
            HostError::WaitTimeout {
                name: name(),
                state: s("was not ready"),
                phase: Some(s(Phase::Userspace.describe())),
                timeout: Timeout::from_secs(90),
                starting: vec![s("NetworkManager-wait-online.service")],
                console_tail: lines(),
            },
            HostError::WaitTimeout {
                name: name(),
                state: s("did not have unit nginx.service active"),
                phase: None,
                timeout: Timeout::from_secs(90),
                starting: vec![],
                console_tail: vec![],
            },
        ],
        UnitNotActive: [HostError::UnitNotActive {
            name: name(),
            unit: s("nginx.service"),
            state: s("failed"),
        }],
        InGuest: [HostError::InGuest {
            name: name(),
            action: "read the journal",
            stderr: s("Connection closed by remote host"),
        }],
        Setting: [HostError::Setting {
            place: s("/home/ann/.config/bcvk/config.toml"),
            problem: s("there is no setting memroy"),
        }],
        Detached: [HostError::Detached],
        Interrupted: [HostError::Interrupted { signal: 2 }],
        Spec: [HostError::Spec(SpecError::KargEmpty)],
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
        MachineId: [SpecError::MachineId(value())],
        IgnitionWithoutInitramfs: [SpecError::IgnitionWithoutInitramfs],
        JournalOverCommand: [SpecError::JournalOverCommand],
        LogDirSyntax: [SpecError::LogDirSyntax { value: value() }],
        SerialPortSyntax: [SpecError::SerialPortSyntax { value: value() }],
        SerialPortReserved: [SpecError::SerialPortReserved { name: s("org.bcvk.x") }],
        SerialPortClash: [SpecError::SerialPortClash { name: value() }],
        TooManySerialPorts: [SpecError::TooManySerialPorts { given: 99, most: 28 }],
        PublishSyntax: [SpecError::PublishSyntax { value: value() }],
        PublishOnHostNetwork: [SpecError::PublishOnHostNetwork],
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
    let lines: String = errors
        .iter()
        .map(|(name, error)| format!("{name}: {error}\n"))
        .collect();
    insta::assert_snapshot!(lines);
}
