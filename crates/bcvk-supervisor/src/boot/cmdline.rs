//! The kernel command line.

use bcvk_contract::spec::{Accelerator, Arch, Fidelity, Karg, VmSpec};
use bcvk_guest::early::START_PROCESSORS;
use bcvk_guest::facts::GuestFacts;
use bcvk_guest::hostname;

/// Arguments that tell a deployed host where its root is. The guest's root is the image itself, and a
/// wait for a disk that is not there would end in emergency mode.
const ROOT_ARGUMENTS: [&str; 12] = [
    "root",
    "rootfstype",
    "rootflags",
    "roothash",
    "ro",
    "rw",
    "mount.usr",
    "mount.usrfstype",
    "mount.usrflags",
    "usrhash",
    "ostree",
    "composefs",
];

/// Arguments that decide whether SELinux is on, which is not for the image to say.
const SELINUX_ARGUMENTS: [&str; 2] = ["selinux", "enforcing"];

/// Returns an argument of the image as a VM has it; `None` if it is left out.
fn for_a_vm(karg: &Karg) -> Option<String> {
    let name = karg.name();
    if ROOT_ARGUMENTS.contains(&name) || SELINUX_ARGUMENTS.contains(&name) {
        return None;
    }
    let text = karg.as_str();
    match text.split_once('=') {
        Some(("security", "selinux")) => None,
        Some(("lsm", modules)) => {
            let modules: Vec<&str> = modules.split(',').filter(|m| *m != "selinux").collect();
            Some(format!("lsm={}", modules.join(",")))
        }
        _ => Some(text.to_owned()),
    }
}

/// Builds the command line: the image's arguments, then ours, then the user's. The last one of a name
/// wins.
pub(crate) fn build(spec: &VmSpec, facts: &GuestFacts, from_image: &[Karg]) -> String {
    let mut arguments: Vec<String> = from_image.iter().filter_map(for_a_vm).collect();
    let machine: &[&str] = match spec.arch {
        Arch::X86_64 => &[
            "console=ttyS0",
            // There is one serial port; probing for three more takes an emulated guest a while.
            "8250.nr_uarts=1",
            // The kernel counts a few ticks of the timer to see whether it works, and panics if too
            // few come, as they do to an emulated guest on a busy host. KVM's guests leave the test
            // out by themselves (Linux, arch/x86/kernel/kvm.c).
            "no_timer_check",
        ],
        Arch::Aarch64 => &["console=ttyAMA0"],
    };
    arguments.extend(machine.iter().map(|argument| (*argument).to_owned()));
    // Every file on virtiofs has one label. A kernel may not know the first of them (Linux,
    // CONFIG_SECURITY_SELINUX_BOOTPARAM); a policy that is loaded then enforces nothing.
    arguments.extend(["selinux=0", "enforcing=0"].map(str::to_owned));
    // systemd would look for partitions on disks that a VM does not have.
    arguments.push("systemd.gpt_auto=0".to_owned());
    let says = |name: &str| {
        let mut kargs = from_image.iter().chain(&spec.kargs);
        kargs.any(|karg| karg.name() == name)
    };
    let emulated = spec.accel == Accelerator::Tcg && spec.arch == Arch::X86_64;
    if emulated && spec.vcpus > 1 && !says("maxcpus") && !says("nr_cpus") && !says("nosmp") {
        // While the kernel finds out how large the devices' memory is, it moves that around, and a
        // QEMU 10 that emulates another processor meanwhile may take one device's registers for
        // another's: it aborts (`iotlb_to_section`), or an interrupt is never acknowledged and that
        // processor's clock stands still. Seen in 1 of 70 to 200 boots on a busy host.
        arguments.push("maxcpus=1".to_owned());
        // With `maxcpus=1`, the kernel need not rewrite itself for one processor, and then for
        // several.
        arguments.push("noreplace-smp".to_owned());
        arguments.push(START_PROCESSORS.to_owned());
    }
    if spec.accel == Accelerator::Tcg && spec.fidelity == Fidelity::Fast {
        // The kernel would test its own cryptography, which takes no time on silicon, but a thirtieth
        // of an emulated boot. In FIPS mode it makes all of these tests anyway (Linux,
        // crypto/testmgr.c).
        arguments.push("cryptomgr.notests".to_owned());
    }
    if spec.cloud_init {
        // Images name other data sources, and ask each of these over the network before they give up.
        if !says("ds") {
            arguments.push("ds=nocloud".to_owned());
        }
    } else if facts.cloud_init_enabled && !says("ds") && !says("cloud-init") {
        // There is no data source here. `ds=none` would spare the search for one, but not the
        // rest: minutes under emulation, new host keys for an sshd that is about to start, and
        // distributions' units that leave making keys to it.
        arguments.push("cloud-init=disabled".to_owned());
    }
    if spec.fidelity == Fidelity::Fast && !says("systemd.firstboot") {
        // Nobody answers at the console (systemd-firstboot(1)).
        arguments.push("systemd.firstboot=no".to_owned());
    }
    if spec.ignition {
        // Ignition runs in the first boot only, which this always is (Ignition,
        // docs/supported-platforms.md).
        arguments.push("ignition.firstboot".to_owned());
        arguments.push("ignition.platform.id=qemu".to_owned());
    }
    // A VM that is saved shares its command line with the VMs that are resumed from it. So its name
    // is not in there; its agent learns the name.
    if !facts.has_hostname && spec.snapshot.is_none() {
        arguments.push(format!("systemd.hostname={}", hostname(spec.name.as_str())));
    }
    // The machine ID of such a VM is not in there either.
    if let (Some(id), None) = (&spec.machine_id, spec.snapshot) {
        arguments.push(format!("systemd.machine_id={id}"));
    }
    arguments.extend(spec.kargs.iter().map(ToString::to_string));
    arguments.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcvk_contract::spec::Snapshot;

    #[test]
    fn the_images_arguments_come_first_but_its_root_is_ours() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = bcvk_guest::rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let kargs =
            Karg::split("rw root=UUID=1 rootwait console=tty0 composefs=abc").expect("kargs");
        assert_eq!(
            build(&bcvk_contract::examples::example(), &facts, &kargs),
            "rootwait console=tty0 console=ttyS0 8250.nr_uarts=1 no_timer_check selinux=0 enforcing=0 \
             systemd.gpt_auto=0 maxcpus=1 noreplace-smp bcvk.start_processors cryptomgr.notests ds=nocloud systemd.firstboot=no ignition.firstboot \
             ignition.platform.id=qemu systemd.hostname=testvm \
             systemd.machine_id=07070707070747078707070707070707 quiet"
        );
    }

    #[test]
    fn an_image_cannot_turn_selinux_on() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = bcvk_guest::rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let mut spec = bcvk_contract::examples::example();
        for (image, left) in [
            ("selinux=1 security=selinux enforcing=1 a=b", "a=b"),
            ("security=apparmor", "security=apparmor"),
            ("lsm=landlock,selinux,bpf", "lsm=landlock,bpf"),
        ] {
            let kargs = Karg::split(image).expect("kargs");
            let line = build(&spec, &facts, &kargs);
            assert!(line.starts_with(&format!("{left} console=")), "{line}");
        }
        spec.kargs = Karg::split("selinux=1").expect("kargs");
        assert!(
            build(&spec, &facts, &[]).ends_with(" selinux=1"),
            "the user can"
        );
    }

    fn line(change: impl FnOnce(&mut VmSpec), image: &str, user: &str) -> String {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = bcvk_guest::rooted::Rooted::new(dir.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let mut spec = bcvk_contract::examples::example();
        change(&mut spec);
        spec.kargs = Karg::split(user).expect("kargs");
        build(&spec, &facts, &Karg::split(image).expect("kargs"))
    }

    /// An emulated guest starts with one processor, unless somebody has said with how many.
    #[test]
    fn only_emulated_processors_are_started_later() {
        let late = |accel, vcpus, image, user| {
            let change = |spec: &mut VmSpec| (spec.accel, spec.vcpus) = (accel, vcpus);
            let line = line(change, image, user);
            let own = ["maxcpus=1 noreplace-smp", START_PROCESSORS];
            let has = own.map(|argument| line.contains(argument));
            assert_eq!(has[0], has[1], "{line}");
            has[0]
        };
        assert!(late(Accelerator::Tcg, 2, "", ""));
        assert!(!late(Accelerator::Tcg, 1, "", ""));
        assert!(!late(Accelerator::Kvm, 2, "", ""));
        for argument in ["maxcpus=2", "nr_cpus=2", "nosmp"] {
            assert!(!late(Accelerator::Tcg, 2, argument, ""), "{argument}");
            assert!(!late(Accelerator::Tcg, 2, "", argument), "{argument}");
        }
    }

    #[test]
    fn work_without_a_use_is_left_out_where_it_takes_time() {
        for (accel, fidelity, no_tests, no_questions) in [
            (Accelerator::Tcg, Fidelity::Fast, true, true),
            (Accelerator::Kvm, Fidelity::Fast, false, true),
            (Accelerator::Tcg, Fidelity::Full, false, false),
        ] {
            let change = |spec: &mut VmSpec| (spec.accel, spec.fidelity) = (accel, fidelity);
            let line = line(change, "", "");
            assert_eq!(line.contains("cryptomgr.notests"), no_tests, "{line}");
            assert_eq!(
                line.contains("systemd.firstboot=no"),
                no_questions,
                "{line}"
            );
        }
        let said = line(|_| (), "systemd.firstboot=yes", "");
        assert!(!said.contains("systemd.firstboot=no"), "{said}");
    }

    #[test]
    fn what_only_one_vm_has_is_not_in_a_saved_ones_line() {
        let own = ["systemd.hostname=testvm", "systemd.machine_id=0707"];
        let saved = line(|spec| spec.snapshot = Some(Snapshot::Save), "", "");
        let booted = line(|_| (), "", "");
        for argument in own {
            assert!(booted.contains(argument), "{booted}");
            assert!(!saved.contains(argument), "{saved}");
        }
        let bare = line(
            |spec| (spec.ignition, spec.machine_id) = (false, None),
            "",
            "",
        );
        assert!(
            !bare.contains("ignition") && !bare.contains("machine_id"),
            "{bare}"
        );
    }

    #[test]
    fn aarch64_has_another_console() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = bcvk_guest::rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let spec = VmSpec {
            arch: Arch::Aarch64,
            ..bcvk_contract::examples::example()
        };
        assert_eq!(
            build(&spec, &facts, &[]),
            "console=ttyAMA0 selinux=0 enforcing=0 systemd.gpt_auto=0 cryptomgr.notests ds=nocloud systemd.firstboot=no ignition.firstboot ignition.platform.id=qemu systemd.hostname=testvm systemd.machine_id=07070707070747078707070707070707 quiet"
        );
    }

    #[test]
    fn cloud_init_is_off_unless_somebody_gives_it_a_source() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = bcvk_guest::rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts {
            cloud_init_enabled: true,
            ..GuestFacts::read(&root).expect("facts of an empty tree")
        };
        for (image, user, off) in [
            ("", "", true),
            ("", "ds=nocloud;s=http://10.0.2.2/", false),
            ("cloud-init=enabled", "", false),
        ] {
            let mut spec = bcvk_contract::examples::example();
            spec.cloud_init = false;
            spec.kargs = Karg::split(user).expect("kargs");
            let line = build(&spec, &facts, &Karg::split(image).expect("kargs"));
            assert_eq!(line.contains("cloud-init=disabled"), off, "{line}");
            spec.cloud_init = true;
            let line = build(&spec, &facts, &Karg::split(image).expect("kargs"));
            assert!(!line.contains("cloud-init=disabled"), "{line}");
            assert_eq!(line.matches("ds=nocloud").count(), 1, "{line}");
        }
    }

    #[test]
    fn a_container_name_becomes_a_host_name() {
        assert_eq!(hostname("my_vm.1-"), "my-vm.1");
    }
}
