//! Units that send the guest's journal to the host.

use bcvk_contract::guest_port;

use super::tree::Tree;

/// Adds the unit that sends the journal of the real root.
pub(super) fn add_journal(tree: &mut Tree) {
    tree.run_file("bcvk/journal", include_str!("../units/journal.sh"));
    // It has another name, because the unit of the initramfs is left running while the system takes
    // over.
    tree.run_unit(
        "bcvk-system-journal.service",
        &journal_unit("/run/bcvk", guest_port::JOURNAL),
    );
    tree.run_wants("sysinit.target", "bcvk-system-journal.service");
}

/// Returns a unit that sends the journal to a virtio-serial port, by the script in `dir`.
pub(super) fn journal_unit(dir: &str, port: u8) -> String {
    include_str!("../units/bcvk-journal.service")
        .replace("@DIR@", dir)
        .replace("@PORT@", &port.to_string())
}
