//! Units for what the guest mounts and swaps on.

use std::path::Path;

use bcvk_contract::spec::{SWAP_NAME, Share, guest_disk};

use super::tree::Tree;
use crate::unit_name::unit_name;

/// Adds a mount unit for each share.
pub(super) fn add_shares(tree: &mut Tree, shares: &[Share]) {
    for share in shares {
        let unit = format!("{}.mount", unit_name(&share.guest_path));
        tree.run_unit(&unit, &share_mount(share));
        tree.run_wants("local-fs.target", &unit);
    }
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
