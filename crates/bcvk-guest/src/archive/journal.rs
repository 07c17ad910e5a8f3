//! Units that send the guest's journal to the host.

use bcvk_contract::guest_port;

use super::tree::Tree;

/// Adds the unit that sends the journal of the real root.
pub(super) fn add_journal(tree: &mut Tree) {
    // It has another name, because the unit of the initramfs is left running while the system takes
    // over.
    tree.run_service(
        "bcvk-system-journal.service",
        &journal_unit(guest_port::JOURNAL),
    );
    tree.run_wants("sysinit.target", "bcvk-system-journal.service");
}

/// Returns the template of a unit that sends the journal to a virtio-serial port.
pub(super) fn journal_unit(port: u8) -> String {
    include_str!("../units/bcvk-journal.service").replace("@PORT@", &port.to_string())
}
