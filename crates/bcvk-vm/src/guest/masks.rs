//! What a VM leaves out of the image's boot, unless its user wants all of it: work that nobody on a
//! machine sees which is gone in the end and has no disk, display or firmware. `docs/guide/fidelity.md`
//! has the same list.

/// Units of the real root.
pub(super) const UNITS: [&str; 12] = [
    // On a volatile /etc and /var each would do its work anew in every boot: the linker's cache and
    // the hardware database are part of the image, message catalogues only explain journal entries,
    // and nobody reads the mark that update-done leaves.
    "ldconfig.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-update-done.service",
    // From memory in /run to memory in /var.
    "systemd-journal-flush.service",
    // The guest has the host's randomness (virtio-rng), and keeps none for the next boot.
    "systemd-random-seed.service",
    // Leases and the like for the next boot.
    "systemd-networkd-persistent-storage.service",
    // What firmware has kept of the last crash.
    "systemd-pstore.service",
    "modprobe@efi_pstore.service",
    // There is no display.
    "modprobe@drm.service",
    "getty@tty1.service",
    // Back to the initramfs, to let go of the disks below the root.
    "dracut-shutdown.service",
];

/// systemd's generators, in the initramfs and in the real root.
pub(super) const GENERATORS: [&str; 6] = [
    // The kernel arguments say no.
    "systemd-gpt-auto-generator",
    // There is nothing to resume from, no TPM, no boot loader, and no update that waits.
    "systemd-hibernate-resume-generator",
    "systemd-tpm2-generator",
    "systemd-bless-boot-generator",
    "systemd-system-update-generator",
    // Loads the drivers for sockets between host and guest, of which there are none.
    "systemd-ssh-generator",
];
