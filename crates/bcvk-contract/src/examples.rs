//! Examples of what crosses, for the tests of those who send and receive it.

#![allow(clippy::missing_panics_doc, reason = "a test that panics has failed")]

use crate::spec::{
    Accelerator, Arch, Console, Disk, DiskFormat, EnvVar, Expose, Fidelity, GuestPort,
    ImageIdentity, Initramfs, KeptLogs, Lifetime, MachineId, MemorySize, Otherwise, Protocol,
    Resume, SPEC_VERSION, SavedFile, SavedFiles, SerialPort, Sha256Digest, Share, SnapshotImage,
    SnapshotStage, SshAccess, Stream, UnitContent, UnitFile, Var, VmSpec,
};
use crate::status::{Event, Phase, Status, Timestamp};
use crate::user_net::UserNet;

/// The files of some snapshot.
#[must_use]
pub fn saved_files() -> SavedFiles {
    let file = |length| SavedFile {
        length,
        sha256: Sha256Digest([7; 32]),
    };
    SavedFiles {
        memory: file(4 << 30),
        state: file(1 << 20),
        kernel: file(8 << 10),
        trace: file(1 << 20),
    }
}

/// A VM that is resumed from a snapshot of its image.
#[must_use]
pub fn resume() -> Resume {
    Resume {
        stage: SnapshotStage::Ready,
        files: saved_files(),
        of: SnapshotImage::Same,
        earlier: None,
        otherwise: Otherwise::Boot,
    }
}

/// A VM with one of everything.
#[must_use]
pub fn example() -> VmSpec {
    VmSpec {
        version: SPEC_VERSION,
        name: "testvm".parse().expect("name"),
        image: ImageIdentity {
            reference: "localhost/mybootc".into(),
            id: "c0ffee".into(),
        },
        arch: Arch::X86_64,
        accel: Accelerator::Tcg,
        nested: false,
        vcpus: 2,
        memory: MemorySize::from_mib(4096),
        qemu: "/usr/bin/qemu-system-x86_64".into(),
        machine_id: Some(MachineId::random([7; 16])),
        kargs: vec!["quiet".parse().expect("karg")],
        shares: vec![Share {
            tag: "mount_project".into(),
            host: "/home/user/my, project".into(),
            guest_path: "/run/virtiofs-mnt-project".into(),
            read_only: true,
        }],
        host_storage: false,
        disks: vec![Disk {
            host: "/home/user/my, disk.img".into(),
            name: "data".into(),
            format: DiskFormat::Raw,
        }],
        swap: Some("512M".parse().expect("swap")),
        var: Var::Disk("20G".parse().expect("size")),
        units: vec![UnitFile {
            path: "hello.service".into(),
            content: UnitContent::File("[Service]\n".into()),
        }],
        ignition: true,
        cloud_init: true,
        execute: vec!["systemctl is-system-running".into()],
        ports: vec![GuestPort {
            container: 20_000,
            guest: 80,
            protocol: Protocol::Tcp,
        }],
        network: UserNet::default(),
        domain: None,
        expose: Expose::All,
        env: vec![EnvVar {
            name: "GREETING".into(),
            value: "hello world".into(),
        }],
        ssh: Some(SshAccess {
            authorized_key: "ssh-ed25519 AAAA bcvk".into(),
            login: super::spec::Login::Own,
            ready: super::spec::Ready::Deployed,
        }),
        host_key: "-----BEGIN OPENSSH PRIVATE KEY-----".into(),
        fidelity: Fidelity::Fast,
        initramfs: Initramfs::Image,
        snapshot: None,
        lifetime: Lifetime::Cli,
        console: Console::Log,
        output: Stream::Console,
        logs: Some(KeptLogs {
            streams: vec![Stream::Console, Stream::Journal],
            host: "/home/user/logs".into(),
        }),
        serial_ports: vec![SerialPort {
            name: "results".into(),
            host: "/home/user/results.txt".into(),
        }],
    }
}

/// A status whose phases began at these seconds of the Unix epoch.
#[must_use]
pub fn status(history: &[(Phase, u64)]) -> Status {
    let history: Vec<Event> = history
        .iter()
        .map(|&(phase, seconds)| Event {
            phase,
            at: Timestamp(seconds * 1_000_000),
        })
        .collect();
    let last = *history.last().expect("a phase");
    Status {
        phase: last.phase,
        history,
        ..Status::new(last.at)
    }
}
