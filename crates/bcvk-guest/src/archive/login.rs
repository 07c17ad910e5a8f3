//! The user's own way in.

use bcvk_contract::spec::{SshAccess, VmSpec, guest_disk};

use super::tree::Tree;
use crate::facts::GuestFacts;
use crate::login::{FILE, Identity, deployed, image};
use crate::unit_name::device_unit;

/// Adds what lets the user of `ssh` in, and what tells the host from when on a deployed system would.
pub(super) fn add_login(tree: &mut Tree, spec: &VmSpec, ssh: &SshAccess, facts: &GuestFacts) {
    tree.run_secret(FILE, &Identity::of(spec, ssh).text());
    tree.file(
        &format!("usr/lib/bcvk/etc/pam.d/{}", image::NAME),
        image::PAM,
    );
    tree.run_service(
        "bcvk-login.service",
        &include_str!("../units/bcvk-login.service").replace("@EXPOSE@", spec.expose.name()),
    );
    tree.run_wants("sysinit.target", "bcvk-login.service");
    tree.run_service(
        "bcvk-next-root.service",
        include_str!("../units/bcvk-next-root.service"),
    );
    tree.run_wants("soft-reboot.target", "bcvk-next-root.service");
    tree.run_unit(
        "bcvk-answers.socket",
        &include_str!("../units/bcvk-answers.socket").replace("@SIGN@", deployed::SIGN),
    );
    tree.run_wants("multi-user.target", "bcvk-answers.socket");
    keep_separation(tree, facts);
    if !spec.disks.is_empty() {
        // A session is there before udev has named the disks that it is about to use.
        let devices: Vec<String> = spec
            .disks
            .iter()
            .map(|disk| device_unit(&guest_disk(&disk.name)))
            .collect();
        let devices = devices.join(" ");
        tree.run_file(
            "systemd/system/bcvk-answers.socket.d/50-disks.conf",
            &format!("[Unit]\nWants={devices}\nAfter={devices}\n"),
        );
    }
}

/// Keeps the directory to which sshd confines its unprivileged half (Debian's `/run/sshd`) when the image's
/// service that has made it stops. Without it, a session that begins at that moment would be lost.
fn keep_separation(tree: &mut Tree, facts: &GuestFacts) {
    let Some(name) = facts.sshd.unit().and_then(|it| it.strip_suffix(".service")) else {
        return;
    };
    for unit in [format!("{name}.service"), format!("{name}@.service")] {
        tree.run_file(
            &format!("systemd/system/{unit}.d/50-bcvk-kept.conf"),
            "[Service]\nRuntimeDirectoryPreserve=yes\n",
        );
    }
}
