//! The user's own way in.

use bcvk_contract::control::Message;
use bcvk_contract::spec::{SshAccess, VmSpec};

use super::system::told;
use super::tree::Tree;
use crate::login::{FILE, Identity, image};

/// Adds what lets the user of `ssh` in, and what tells the host from when on a deployed system would.
pub(super) fn add_login(tree: &mut Tree, spec: &VmSpec, ssh: &SshAccess) {
    tree.run_secret(FILE, &Identity::of(spec, ssh).text());
    tree.file(
        &format!("usr/lib/bcvk/etc/pam.d/{}", image::NAME),
        image::PAM,
    );
    tree.run_service(
        "bcvk-login.service",
        include_str!("../units/bcvk-login.service"),
    );
    tree.run_wants("sysinit.target", "bcvk-login.service");
    tree.run_service(
        "bcvk-answers.service",
        &told(
            include_str!("../units/bcvk-answers.service"),
            &Message::Answers,
        ),
    );
    tree.run_wants("multi-user.target", "bcvk-answers.service");
}
