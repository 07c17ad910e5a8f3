//! Units for what the guest mounts and swaps on.

use std::path::Path;

use bcvk_contract::spec::{SWAP_NAME, Share, UnitContent, UnitFile, guest_disk};

use super::tree::Tree;
use crate::facts::GuestFacts;
use crate::unit_name::unit_name;

/// Drop-in for a mount that no target ends.
const KEPT: &str = "[Unit]\nDefaultDependencies=no\n";

/// Keeps what has been mounted for the system before it started. A soft-reboot ends every other mount
/// than `/`, `/usr` and `/etc` (systemd-soft-reboot.service(8)), and there is no initramfs to mount
/// these anew.
pub(super) fn add_kept(tree: &mut Tree, facts: &GuestFacts) {
    // The first stands for all mounts below the directory (systemd.unit(5)).
    let mut kept = ["run-bcvk-", "var", "tmp"].map(str::to_owned).to_vec();
    kept.extend(facts.root_home.as_deref().map(unit_name));
    let parts = facts.var.overlaid.iter();
    kept.extend(parts.map(|part| unit_name(&Path::new("/var").join(part))));
    for unit in kept {
        tree.run_file(
            &format!("systemd/system/{unit}.mount.d/50-bcvk-kept.conf"),
            KEPT,
        );
    }
}

/// Target whose start mounts the shares.
const MOUNTED_WITH: &str = "local-fs.target";

/// Adds a mount unit for each share.
pub(super) fn add_shares(tree: &mut Tree, shares: &[Share]) {
    for share in shares {
        let unit = mount_unit(share);
        tree.run_unit(&unit, &share_mount(share));
        tree.run_wants(MOUNTED_WITH, &unit);
    }
}

/// Returns the files that [`add_shares`] would have added, for a system that runs.
pub(crate) fn share_units(shares: &[Share]) -> Vec<UnitFile> {
    let files = shares.iter().flat_map(|share| {
        let unit = mount_unit(share);
        let wanted = UnitFile {
            path: format!("{MOUNTED_WITH}.wants/{unit}"),
            content: UnitContent::Link(format!("../{unit}")),
        };
        let text = UnitContent::File(share_mount(share));
        let mount = UnitFile {
            path: unit,
            content: text,
        };
        [mount, wanted]
    });
    files.collect()
}

fn mount_unit(share: &Share) -> String {
    format!("{}.mount", unit_name(&share.guest_path))
}

/// Adds a swap unit. systemd finds the device by its serial number, and swaps on it once udev has
/// seen it.
pub(super) fn add_swap(tree: &mut Tree) {
    let device = guest_disk(SWAP_NAME);
    let unit = format!("{}.swap", unit_name(&device));
    tree.run_unit(
        &unit,
        &include_str!("../units/bcvk.swap").replace("@WHAT@", &device.to_string_lossy()),
    );
    tree.run_wants("swap.target", &unit);
}

/// Returns the mount unit of a share.
pub(crate) fn share_mount(share: &Share) -> String {
    let template = include_str!("../units/share.mount");
    // All names are replaced in one pass: a path may look like one of these names.
    let parts = template.split('@').map(|part| match part {
        "HOST" => specifiers(&share.host),
        "TAG" => share.tag.replace('%', "%%"),
        "WHERE" => specifiers(&share.guest_path),
        "OPTIONS" => if share.read_only { "ro" } else { "rw" }.to_owned(),
        text => text.to_owned(),
    });
    parts.collect()
}

/// Writes a path in a unit file, where `%` starts a specifier and a line break ends the value.
fn specifiers(path: &Path) -> String {
    path.to_string_lossy()
        .replace('%', "%%")
        .replace(['\n', '\r'], "?")
}
