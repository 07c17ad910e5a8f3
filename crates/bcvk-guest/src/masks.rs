//! Boot work that is pointless on a discarded machine without disk, display or firmware. A VM
//! leaves it out of the image's boot unless its user wants all of it. `docs/guide/fidelity.md` has
//! the same list.

use bcvk_contract::spec::{Fidelity, Karg, VmSpec};

use crate::facts::GuestFacts;

/// Names of units and generators that are masked.
#[derive(Debug, Default)]
pub(super) struct Masks {
    /// Units of the initramfs.
    pub(super) initrd_units: Vec<&'static str>,
    /// Units of the real root.
    pub(super) units: Vec<&'static str>,
    /// systemd's generators, in the initramfs and in the real root.
    pub(super) generators: Vec<&'static str>,
}

/// Returns what a VM of `spec` leaves out of the boot of an image with `facts`, which brings the
/// kernel arguments `from_image`.
pub(super) fn masks(spec: &VmSpec, facts: &GuestFacts, from_image: &[Karg]) -> Masks {
    if spec.fidelity == Fidelity::Full {
        return Masks::default();
    }
    let mut masks = Masks {
        initrd_units: Vec::new(),
        units: UNITS.to_vec(),
        generators: GENERATORS.to_vec(),
    };
    if !facts.rc_local {
        masks.generators.push("systemd-rc-local-generator");
    }
    let configured = from_image.iter().chain(&spec.kargs).any(configures_units);
    if !facts.credentials && !configured {
        masks.units.extend(CONFIGURED_UNITS);
        masks.generators.extend(CONFIGURED_GENERATORS);
    }
    let loads = from_image.iter().chain(&spec.kargs).any(loads_modules);
    if !facts.modules_to_load && !loads && !spec.ignition {
        masks.units.push("systemd-modules-load.service");
    }
    if !configured && !spec.ignition && spec.disks.is_empty() {
        masks.initrd_units.extend(INITRD_UNITS);
    }
    masks
}

/// Returns true if `karg` might configure a unit or generator in [`CONFIGURED_UNITS`] or
/// [`CONFIGURED_GENERATORS`] (kernel-command-line(7), systemd-network-generator.service(8),
/// systemd-debug-generator(8), systemd-run-generator(8)).
fn configures_units(karg: &Karg) -> bool {
    let name = karg.name();
    ["systemd.", "rd.", "net."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || [
            "ip",
            "ifname",
            "nameserver",
            "vlan",
            "bond",
            "bridge",
            "team",
        ]
        .contains(&name)
}

/// Returns true if `karg` names modules to load (systemd-modules-load.service(8)).
fn loads_modules(karg: &Karg) -> bool {
    ["modules_load", "modules-load", "rd.modules_load"].contains(&karg.name())
}

/// Units that do only what kernel arguments and credentials say.
const CONFIGURED_UNITS: [&str; 2] = [
    "systemd-network-generator.service",
    "systemd-udev-load-credentials.service",
];
const CONFIGURED_GENERATORS: [&str; 2] = ["systemd-debug-generator", "systemd-run-generator"];

/// Units that find an initramfs's disks and network cards. The image is mounted without them, and
/// the real root's own find everything once more.
const INITRD_UNITS: [&str; 1] = ["systemd-udev-trigger.service"];

const UNITS: [&str; 12] = [
    // On a volatile /etc and /var each would do its work anew in every boot: the linker's cache and
    // the hardware database are part of the image, message catalogues only explain journal entries,
    // and nobody reads the mark that update-done leaves.
    "ldconfig.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-update-done.service",
    // It moves the journal from memory in /run to memory in /var.
    "systemd-journal-flush.service",
    // The guest has the host's randomness (virtio-rng), and keeps none for the next boot.
    "systemd-random-seed.service",
    // It keeps leases and the like for the next boot.
    "systemd-networkd-persistent-storage.service",
    // They save what firmware has kept of the last crash.
    "systemd-pstore.service",
    "modprobe@efi_pstore.service",
    // There is no display.
    "modprobe@drm.service",
    "getty@tty1.service",
    // It goes back to the initramfs, to let go of the disks below the root.
    "dracut-shutdown.service",
];

const GENERATORS: [&str; 6] = [
    // The kernel arguments switch it off.
    "systemd-gpt-auto-generator",
    // There is nothing to resume from, no TPM, no boot loader, and no update that waits.
    "systemd-hibernate-resume-generator",
    "systemd-tpm2-generator",
    "systemd-bless-boot-generator",
    "systemd-system-update-generator",
    // It loads the drivers for sockets between host and guest, of which there are none.
    "systemd-ssh-generator",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooted::Rooted;

    #[test]
    fn what_has_something_to_do_is_not_masked() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let spec = |kargs: &str| VmSpec {
            kargs: Karg::split(kargs).expect("kargs"),
            ignition: false,
            ..bcvk_contract::examples::example()
        };
        let of = |facts: &GuestFacts, image: &str, user: &str| {
            let Masks {
                units, generators, ..
            } = masks(&spec(user), facts, &Karg::split(image).expect("kargs"));
            [
                units.contains(&"systemd-network-generator.service"),
                generators.contains(&"systemd-run-generator"),
                generators.contains(&"systemd-rc-local-generator"),
                units.contains(&"systemd-modules-load.service"),
                units.contains(&"ldconfig.service"),
            ]
        };
        assert_eq!(of(&facts, "quiet console=tty0", ""), [true; 5]);
        for (image, user) in [
            ("ip=dhcp", ""),
            ("", "systemd.mask=x.service"),
            ("rd.systemd.debug_shell", ""),
        ] {
            assert_eq!(of(&facts, image, user), [false, false, true, true, true]);
        }
        let loads = of(&facts, "", "modules_load=loop");
        assert_eq!(loads, [true, true, true, false, true]);
        let named = GuestFacts {
            modules_to_load: true,
            ..facts.clone()
        };
        assert_eq!(of(&named, "", ""), [true, true, true, false, true]);
        let credentials = GuestFacts {
            credentials: true,
            ..facts.clone()
        };
        assert_eq!(of(&credentials, "", ""), [false, false, true, true, true]);
        let rc_local = GuestFacts {
            rc_local: true,
            ..facts
        };
        assert_eq!(of(&rc_local, "", ""), [true, true, false, true, true]);
    }

    #[test]
    fn an_initramfs_that_may_need_devices_looks_for_them() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let looks = |spec: &VmSpec| masks(spec, &facts, &[]).initrd_units.is_empty();
        let example = bcvk_contract::examples::example();
        let plain = VmSpec {
            kargs: Vec::new(),
            ignition: false,
            disks: Vec::new(),
            ..example.clone()
        };
        assert!(!looks(&plain));
        assert!(looks(&VmSpec {
            kargs: Karg::split("rd.neednet=1").expect("kargs"),
            ..plain.clone()
        }));
        assert!(looks(&VmSpec {
            ignition: true,
            ..plain.clone()
        }));
        assert!(looks(&VmSpec {
            disks: example.disks,
            ..plain.clone()
        }));
        assert!(looks(&VmSpec {
            fidelity: Fidelity::Full,
            ..plain
        }));
    }
}
