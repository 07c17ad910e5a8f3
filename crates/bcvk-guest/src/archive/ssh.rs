//! The guest's sshd, and the keys that it knows.

use base64ct::{Base64, Encoding};
use bcvk_contract::spec::{SshAccess, VmSpec};
use bcvk_contract::user_net::UserNet;

use super::tree::Tree;
use crate::facts::{GuestFacts, Sshd};

/// File with the user's key, under `/run`.
pub(crate) const USER_KEY: &str = "tmpfiles.d/00-bcvk-key.conf";

/// File with the host key that was made for the VM, under `/run`.
pub(crate) const HOST_KEY: &str = "tmpfiles.d/00-bcvk-host-key.conf";

/// Adds a host key for an image that has none, so that its sshd has nothing to make. It is made on the
/// host, where it takes no time. `tmpfiles.d(5)` is done before sshd or what makes host keys starts.
pub(super) fn add_host_key(tree: &mut Tree, spec: &VmSpec, facts: &GuestFacts) {
    if !facts.has_ssh_host_keys && facts.sshd != Sshd::Absent {
        tree.run_secret(HOST_KEY, &host_key(spec));
    }
}

/// Returns the snippet with the VM's own host key.
pub(crate) fn host_key(spec: &VmSpec) -> String {
    let key = Base64::encode_string(spec.host_key.as_bytes());
    format!("f~ /etc/ssh/ssh_host_ed25519_key 0600 root root - {key}\n")
}

/// Returns the snippet that lets the user log in as root.
pub(crate) fn user_key(ssh: &SshAccess) -> String {
    format!(
        "d /root/.ssh 0700 root root -\n\
         f+~ /root/.ssh/authorized_keys 0600 root root - {}\n",
        Base64::encode_string(ssh.authorized_key.as_bytes()),
    )
}

/// Makes sure that the image's sshd knows the user's key, that its failure is reported, and that the host
/// hears whom it refuses, and why.
///
/// The key is in a `tmpfiles.d(5)` snippet, because systemd-tmpfiles follows the image's links to
/// `/root`. Of two lines for one path systemd takes the first, in the order of file names; an image
/// that installs a key in this way too must not keep ours out.
pub(super) fn add_sshd(tree: &mut Tree, access: &SshAccess, net: UserNet, facts: &GuestFacts) {
    tree.run_secret(USER_KEY, &user_key(access));
    if facts.sshd_penalises {
        // Every session comes from this one address. Without the exemption, a few that end before
        // they log in would lock out all that follow.
        tree.run_file(
            "tmpfiles.d/bcvk.conf",
            &format!(
                "f /etc/ssh/sshd_config.d/00-bcvk.conf 0644 root root - \
                 PerSourcePenaltyExemptList {}\n",
                net.gateway()
            ),
        );
    }
    if let Some(unit) = facts.sshd.unit() {
        tree.run_file(
            &format!("systemd/system/{unit}.d/50-bcvk.conf"),
            "[Unit]\nOnFailure=bcvk-failed.service\n",
        );
    }
    tree.run_service(
        "bcvk-refusals.service",
        include_str!("../units/bcvk-refusals.service"),
    );
    tree.run_wants("multi-user.target", "bcvk-refusals.service");
}
