//! Drop-ins and tables that keep the boot from waiting for what a VM does not have.

use std::fmt::Write as _;

use bcvk_contract::spec::{Fidelity, Initramfs, VmSpec};

use super::tree::Tree;
use crate::absent::Absent;
use crate::facts::{GuestFacts, Network};

/// Drop-in that skips a unit: units that require it go on.
const SKIPPED: &str = "[Unit]\nConditionPathExists=!/\n";

/// Drop-in that skips a mount unit, which would depend on the device of its source.
const SKIPPED_MOUNT: &str = "[Unit]\nConditionPathExists=!/\n[Mount]\nWhat=bcvk-absent\n";

/// Drop-in for a device that never comes.
const NOT_AWAITED: &str = "[Unit]\nJobRunningTimeoutSec=1s\n";

/// Time for a device that may be on one of the user's disks. systemd's own limit is 90 s.
const DEVICE_TIMEOUT: &str = "DefaultDeviceTimeoutSec=30s\n";

/// Adds what leaves out all that is `absent`.
pub(super) fn add_absent(tree: &mut Tree, spec: &VmSpec, absent: &Absent) {
    let drop_in = |unit: &str| format!("systemd/system/{unit}.d/50-bcvk.conf");
    for unit in &absent.mounts {
        tree.run_file(&drop_in(unit), SKIPPED_MOUNT);
    }
    for unit in &absent.services {
        tree.run_file(&drop_in(unit), SKIPPED);
        if spec.initramfs == Initramfs::Image {
            tree.file(&format!("etc/{}", drop_in(unit)), SKIPPED);
        }
    }
    for unit in &absent.devices {
        tree.run_file(&drop_in(unit), NOT_AWAITED);
    }
    add_tables(tree, spec, absent);
}

/// Adds the tables, and tells systemd to read them.
fn add_tables(tree: &mut Tree, spec: &VmSpec, absent: &Absent) {
    let mut manager = String::new();
    if spec.fidelity == Fidelity::Fast && !spec.disks.is_empty() {
        manager.push_str(DEVICE_TIMEOUT);
    }
    for (name, variable, text) in [
        ("fstab", "SYSTEMD_FSTAB", &absent.fstab),
        ("crypttab", "SYSTEMD_CRYPTTAB", &absent.crypttab),
    ] {
        let Some(text) = text else {
            continue;
        };
        tree.run_file(&format!("bcvk/{name}"), text);
        let _ = writeln!(manager, "ManagerEnvironment={variable}=/run/bcvk/{name}");
    }
    if absent.fstab.is_some() {
        // It reads the options of the root, and is no child that inherits the manager's environment.
        tree.run_file(
            "systemd/system/systemd-remount-fs.service.d/50-bcvk.conf",
            "[Service]\nEnvironment=SYSTEMD_FSTAB=/run/bcvk/fstab\n",
        );
    }
    if absent.fstab.is_some() && spec.initramfs == Initramfs::Image {
        // The initramfs mounts what the image's table has for it (systemd.mount(5),
        // `x-initrd.mount`).
        let variable = "SYSTEMD_SYSROOT_FSTAB=/usr/lib/bcvk/run/bcvk/fstab";
        tree.file(
            "etc/systemd/system.conf.d/50-bcvk.conf",
            &format!("[Manager]\nManagerEnvironment={variable}\n"),
        );
    }
    if !manager.is_empty() {
        tree.run_file(
            "systemd/system.conf.d/50-bcvk-devices.conf",
            &format!("[Manager]\n{manager}"),
        );
    }
}

/// Makes the system wait for a network that leads out, and not for every link that the image
/// configures: a VM has one card, and nothing else gets a carrier. A drop-in of the image's that
/// names links comes after this.
pub(super) fn add_link_to_wait_for(tree: &mut Tree, spec: &VmSpec, facts: &GuestFacts) {
    if spec.fidelity == Fidelity::Full {
        return;
    }
    let mut wait_with = |unit: &str, command: &str| {
        tree.run_file(
            &format!("systemd/system/{unit}.d/50-bcvk.conf"),
            &format!("[Service]\nExecStart=\nExecStart={command}\n"),
        );
    };
    if facts.networkd_waits {
        // An address that leads out of the machine makes a link routable (networkctl(1)), unless it
        // has no carrier.
        wait_with(
            "systemd-networkd-wait-online.service",
            "/usr/lib/systemd/systemd-networkd-wait-online --any --operational-state=routable",
        );
    }
    if facts.network == Network::NetworkManager {
        // With `--wait-for-startup`, as the image has it, it waits for every profile (nm-online(1)).
        wait_with(
            "NetworkManager-wait-online.service",
            "/usr/bin/nm-online --quiet",
        );
    }
}
