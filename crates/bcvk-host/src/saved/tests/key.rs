//! Tests that VMs share a snapshot if, and only if, their guests boot alike.

use std::fs;
use std::path::PathBuf;

use bcvk_contract::examples::{example, resume};
use bcvk_contract::spec::{
    Accelerator, Arch, Console, Expose, Fidelity, ImageIdentity, Initramfs, Lifetime, MemorySize,
    Snapshot, Stream, Var, VmSpec,
};
use bcvk_contract::user_net::UserNet;

use crate::saved::key::{SnapshotKey, processor};

/// Two programs, which stand for bcvk and QEMU.
struct Programs {
    _dir: tempfile::TempDir,
    exe: PathBuf,
    qemu: PathBuf,
}

impl Programs {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let [exe, qemu] = ["bcvk", "qemu"].map(|name| dir.path().join(name));
        for program in [&exe, &qemu] {
            fs::write(program, "version 1").expect("written");
        }
        Self {
            _dir: dir,
            exe,
            qemu,
        }
    }

    fn key(&self, spec: &VmSpec) -> SnapshotKey {
        SnapshotKey::new(spec, &self.exe).expect("a key")
    }
}

/// A VM that can be saved and resumed.
fn resumable(programs: &Programs) -> VmSpec {
    let spec = VmSpec {
        qemu: programs.qemu.clone(),
        swap: None,
        var: Var::Shared,
        ignition: false,
        cloud_init: false,
        logs: None,
        serial_ports: Vec::new(),
        ..example()
    };
    assert_eq!(spec.snapshot_obstacle(), None);
    spec
}

/// A VM of which every field differs from that of [`resumable`].
fn another() -> VmSpec {
    let spec = example();
    VmSpec {
        version: spec.version + 1,
        name: "other".parse().expect("a name"),
        // The image has the same name, but is another one.
        image: ImageIdentity {
            id: "decade".to_owned(),
            ..spec.image
        },
        arch: Arch::Aarch64,
        accel: Accelerator::Kvm,
        nested: true,
        vcpus: spec.vcpus + 1,
        memory: MemorySize::from_mib(1024),
        qemu: "/proc/self/exe".into(),
        machine_id: None,
        kargs: Vec::new(),
        shares: Vec::new(),
        host_storage: true,
        disks: Vec::new(),
        units: Vec::new(),
        execute: Vec::new(),
        ports: Vec::new(),
        network: UserNet::CHOICES[1],
        domain: Some("dns.podman".to_owned()),
        expose: Expose::None,
        env: Vec::new(),
        ssh: None,
        host_key: String::new(),
        fidelity: Fidelity::Full,
        initramfs: Initramfs::Direct,
        snapshot: Some(Snapshot::Resume(resume())),
        lifetime: Lifetime::Detached,
        console: Console::Interactive,
        output: Stream::Journal,
        ..spec
    }
}

/// Copies of a VM, each with one field of another VM and that field's name.
type Copies = Vec<(&'static str, VmSpec)>;

/// Returns three lists of copies of `spec` with one field of `other` each: with a field that a guest
/// sees while it boots, with one that keeps a VM from being resumed, and with one that a VM is given
/// once it runs, or that its guest never sees. A new field does not compile before it is in a list.
fn with_each_field_of(other: VmSpec, spec: &VmSpec) -> [Copies; 3] {
    macro_rules! copies {
        ($($field:ident)*) => {
            vec![$((stringify!($field), VmSpec { $field, ..spec.clone() })),*]
        };
    }
    #[rustfmt::skip]
    let VmSpec {
        version, name, image, arch, accel, nested, vcpus, memory, qemu, machine_id, kargs, shares,
        host_storage, disks, swap, var, units, ignition, cloud_init, execute, ports, network, domain, expose, env, ssh,
        host_key, fidelity, initramfs, snapshot, lifetime, console, output, logs, serial_ports,
    } = other;
    [
        copies![version arch accel nested vcpus memory qemu kargs var network domain expose fidelity initramfs],
        copies![host_storage swap ignition cloud_init ssh console output logs serial_ports],
        copies![
            name image machine_id shares disks units execute ports env host_key snapshot lifetime
        ],
    ]
}

#[test]
fn only_what_a_guest_sees_while_it_boots_makes_another_key() {
    let programs = Programs::new();
    let spec = resumable(&programs);
    let key = programs.key(&spec);
    let [seen, boots, given_later] = with_each_field_of(another(), &spec);
    for (field, other) in seen {
        assert_ne!(programs.key(&other), key, "the key forgets {field}");
    }
    for (field, other) in boots {
        let why = other.snapshot_obstacle();
        assert!(why.is_some(), "a VM with another {field} is resumed");
    }
    for (field, other) in given_later {
        assert_ne!(other, spec, "{field} is the same");
        assert_eq!(programs.key(&other), key, "{field} takes another boot");
    }
}

#[test]
fn a_program_that_was_replaced_makes_another_key() {
    let programs = Programs::new();
    let spec = resumable(&programs);
    let mut keys = vec![programs.key(&spec)];
    for program in [&programs.exe, &programs.qemu] {
        fs::write(program, "version 1.1").expect("written");
        keys.push(programs.key(&spec));
        // Another file of this size, with the time of its build, is renamed into place.
        let built = fs::metadata(program).and_then(|found| found.modified());
        let new = program.with_extension("new");
        fs::write(&new, "version 1.2").expect("written");
        let file = fs::File::options().write(true).open(&new).expect("opened");
        file.set_modified(built.expect("a time")).expect("set");
        fs::rename(new, program).expect("replaced");
        keys.push(programs.key(&spec));
    }
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "change {index} is not seen");
    }
}

#[test]
fn a_processor_is_what_a_guest_can_see_of_it() {
    let text = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: A\nmicrocode\t: 0x1\n\
                cpu MHz\t\t: 2100.4\nflags\t\t: fpu vme\n\nprocessor\t: 1\nflags\t\t: other\n";
    let seen = [
        "vendor_id\t: GenuineIntel",
        "model name\t: A",
        "microcode\t: 0x1",
        "flags\t\t: fpu vme",
    ];
    assert_eq!(processor(text), seen);
}
