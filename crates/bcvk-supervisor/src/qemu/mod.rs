//! QEMU: its argument list (pure), its confinement, and its monitor.

pub(super) mod args;
pub(super) mod confine;
mod disks;
#[cfg(test)]
mod misbehaving;
pub(super) mod monitor;
pub(super) mod plug;

use std::ffi::OsString;

pub(super) use confine::QemuConfinement;

pub(super) use args::{Machine, ROOT_TAG, WarmFds, args};
pub(super) use disks::disk_of_node;

use crate::sshd::Ports;
use bcvk_contract::spec::{Login, Otherwise, Resume, Snapshot, SnapshotStage, VmSpec};

/// Returns the argument list for `spec`, with placeholders for values that only a running supervisor
/// knows.
#[must_use]
pub fn plan_for_display(spec: &VmSpec) -> Vec<OsString> {
    let base = spec.base();
    args(&Machine {
        spec: if spec.snapshot.is_some() { &base } else { spec },
        ..machine(spec)
    })
}

/// Returns the machine of `spec`, with placeholders for the rest.
fn machine(spec: &VmSpec) -> Machine<'_> {
    let login = spec.login();
    let disks = disks::disks(spec).count();
    Machine {
        spec,
        kernel: "KERNEL".into(),
        initrd: "INITRD".into(),
        cmdline: "KERNEL-ARGUMENTS".to_owned(),
        memory: "MEMORY".into(),
        ignition: spec.ignition.then(|| "IGNITION-CONFIG".into()),
        disk_fds: (10..10 + i32::try_from(disks).unwrap_or_default()).collect(),
        port_fds: (30..60).collect(),
        root_fd: 8,
        share_fds: (60..).take(spec.shares.len()).collect(),
        ports: (login == Some(Login::Image)).then_some(Ports::USUAL),
        sessions_fd: (login == Some(Login::Own)).then_some(9),
        warm: spec.snapshot.map(|snapshot| WarmFds {
            incoming: snapshot.resume().map(|_| 6),
            states: match snapshot {
                Snapshot::Save => vec![(SnapshotStage::Early, 90), (SnapshotStage::Ready, 91)],
                Snapshot::Resume(Resume {
                    stage: SnapshotStage::Early,
                    otherwise: Otherwise::Save,
                    ..
                }) => vec![(SnapshotStage::Ready, 91)],
                Snapshot::Resume(_) => Vec::new(),
            },
            agent: 7,
        }),
        store_fd: 20,
        console_fd: 3,
        control_fd: 4,
        monitor_fd: 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcvk_contract::examples::{example, resume};
    use bcvk_contract::spec::{Accelerator, Arch, Fidelity, Share, Snapshot};

    fn lines(spec: &VmSpec) -> String {
        let mut text = String::new();
        for arg in plan_for_display(spec) {
            let arg = arg.to_string_lossy();
            text.push_str(if arg.starts_with('-') { "\n" } else { " " });
            text.push_str(&arg);
        }
        text.trim_start().to_owned()
    }

    #[test]
    fn x86_64_emulated() {
        insta::assert_snapshot!(lines(&example()));
    }

    #[test]
    fn aarch64_with_kvm() {
        insta::assert_snapshot!(lines(&aarch64(Accelerator::Kvm)));
    }

    #[test]
    fn aarch64_emulated() {
        insta::assert_snapshot!(lines(&aarch64(Accelerator::Tcg)));
    }

    #[test]
    fn a_processor_has_virtualisation_only_if_it_was_asked_for() {
        for (accel, nested, flags) in [
            (Accelerator::Kvm, false, "-cpu host,vmx=off,svm=off"),
            (Accelerator::Kvm, true, "-cpu host"),
            (Accelerator::Tcg, false, "-cpu max,svm=off"),
            (Accelerator::Tcg, true, "-cpu max,svm=on,npt=on"),
        ] {
            let spec = VmSpec {
                accel,
                nested,
                fidelity: Fidelity::Full,
                ..example()
            };
            let text = lines(&spec);
            assert!(text.lines().any(|line| line == flags), "{flags}: {text}");
        }
    }

    fn aarch64(accel: Accelerator) -> VmSpec {
        VmSpec {
            arch: Arch::Aarch64,
            accel,
            qemu: "/usr/bin/qemu-system-aarch64".into(),
            ..example()
        }
    }

    #[test]
    fn x86_64_saved() {
        insta::assert_snapshot!(lines(&with_snapshot(&Snapshot::Save)));
    }

    fn with_snapshot(snapshot: &Snapshot) -> VmSpec {
        let spec = VmSpec {
            snapshot: Some(*snapshot),
            fidelity: Fidelity::Full,
            ..example()
        };
        spec.base()
    }

    /// Another machine could not take up the state of the one that was saved.
    #[test]
    fn a_resumed_machine_is_the_saved_one_and_waits_for_its_state() {
        let machine = |snapshot| {
            let all = lines(&with_snapshot(&snapshot));
            let files = |line: &&str| !line.starts_with("-add-fd fd=");
            let machine: Vec<_> = all.lines().filter(files).map(str::to_owned).collect();
            machine.join("\n")
        };
        let saved = machine(Snapshot::Save);
        for stage in SnapshotStage::ALL {
            let resumed = machine(Snapshot::Resume(Resume { stage, ..resume() }));
            assert_eq!(resumed.replace("\n-incoming defer", ""), saved);
            assert_ne!(resumed, saved);
        }
    }

    /// Two states are written to two files, and neither to that of the state that is read.
    #[test]
    fn each_state_has_a_file_of_its_own() {
        let early = Resume {
            stage: SnapshotStage::Early,
            otherwise: Otherwise::Save,
            ..resume()
        };
        for (snapshot, files) in [
            (
                Snapshot::Save,
                ["fd=90,set=101", "fd=91,set=102"].as_slice(),
            ),
            (Snapshot::Resume(resume()), &["fd=6,set=100"]),
            (Snapshot::Resume(early), &["fd=6,set=100", "fd=91,set=102"]),
        ] {
            let text = lines(&with_snapshot(&snapshot));
            let found: Vec<_> = text
                .lines()
                .filter_map(|line| line.strip_prefix("-add-fd "))
                // The rest are the disks' and the checkpoints'.
                .filter(|file| file.contains("set=10") && !file.ends_with("set=103"))
                .collect();
            assert_eq!(found, files);
        }
    }

    #[test]
    fn only_the_images_sshd_as_the_way_in_has_ports() {
        for (login, ports, sessions) in [(Login::Own, 0, 1), (Login::Image, 2, 0)] {
            let mut spec = example();
            spec.ssh.as_mut().expect("a way in").login = login;
            let lines = lines(&spec);
            let count = lines.matches(",hostfwd=tcp:127.0.0.1:").count();
            assert_eq!(count, ports, "{lines}");
            let count = lines.matches("name=org.bcvk.sessions").count();
            assert_eq!(count, sessions, "{lines}");
        }
    }

    #[test]
    fn a_comma_in_a_value_does_not_begin_another_option() {
        let mut spec = example();
        spec.shares[0].tag = "a,tag".into();
        spec.disks[0].name = "a,disk".into();
        spec.serial_ports[0].name = "a,port".into();
        let args = args(&Machine {
            memory: "/a,memory".into(),
            ignition: Some("/an,ignition".into()),
            ..machine(&spec)
        });
        let args = args.join(std::ffi::OsStr::new("\n"));
        let args = args.to_str().expect("text");
        for value in ["a,tag", "a,disk", "a,port", "/a,memory", "/an,ignition"] {
            assert!(!args.contains(value), "{value} in {args}");
            assert!(args.contains(&value.replace(',', ",,")), "{value}: {args}");
        }
    }

    #[test]
    fn many_shares_have_addresses_of_their_own() {
        let share = |i: usize| Share {
            tag: format!("mount_{i}"),
            ..example().shares[0].clone()
        };
        let spec = VmSpec {
            shares: (0..20).map(share).collect(),
            ..example()
        };
        let text = lines(&spec);
        let mut addresses: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split("addr=").nth(1))
            .collect();
        let count = addresses.len();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), count);
        // Four devices are the machine's, and one each is a disk, the swap device and /var.
        assert_eq!(count, 27);
    }
}
