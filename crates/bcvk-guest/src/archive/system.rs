//! Units of the real root that report how far the boot has come, masks, and the user's own units.

use bcvk_contract::control::Message;
use bcvk_contract::spec::{Console, UnitContent, UnitFile, VmSpec};

use super::env::manager_env;
use super::tree::Tree;
use crate::facts::GuestFacts;
use crate::masks::Masks;
use crate::storage;

/// Adds the units that report a failed boot and the start of the real root's systemd.
pub(super) fn add_reports(tree: &mut Tree) {
    tree.run_service(
        "bcvk-failed.service",
        include_str!("../units/bcvk-failed.service"),
    );
    tree.run_wants("emergency.target", "bcvk-failed.service");
    tree.run_wants("rescue.target", "bcvk-failed.service");
    tree.run_service(
        "bcvk-userspace.service",
        &told(
            include_str!("../units/bcvk-userspace.service"),
            &Message::Userspace,
        ),
    );
    tree.run_wants("sysinit.target", "bcvk-userspace.service");
}

/// Adds the unit that reports the end of the boot.
pub(super) fn add_up(tree: &mut Tree) {
    let unit = told(include_str!("../units/bcvk-up.service"), &Message::Up);
    tree.run_service("bcvk-up.service", &unit);
    tree.run_wants("multi-user.target", "bcvk-up.service");
}

pub(super) fn told(template: &str, message: &Message) -> String {
    template.replace("@MESSAGE@", &message.to_string())
}

/// Masks units and generators of the real root.
pub(super) fn add_masks(tree: &mut Tree, masks: &Masks) {
    for unit in &masks.units {
        tree.mask(format!("usr/lib/bcvk/run/systemd/system/{unit}"));
    }
    for generator in &masks.generators {
        tree.mask(format!(
            "usr/lib/bcvk/run/systemd/system-generators/{generator}"
        ));
    }
}

/// Adds a condition to the units that load a module, so that no program is started for one that is loaded.
pub(super) fn add_loaded(tree: &mut Tree) {
    tree.run_file(
        "systemd/system/modprobe@.service.d/50-bcvk.conf",
        "[Unit]\nConditionPathExists=!/sys/module/%i\n",
    );
}

/// Adds the host's container storage to the image's configuration.
pub(super) fn add_host_storage(tree: &mut Tree, facts: &GuestFacts) {
    tree.file(
        "usr/lib/bcvk/etc/containers/storage.conf",
        &storage::with_host_store(facts.storage_conf.as_deref()),
    );
}

/// Adds the user's units.
pub(super) fn add_user_units(tree: &mut Tree, units: &[UnitFile]) {
    for unit in units {
        let path = format!("systemd/system/{}", unit.path);
        match &unit.content {
            UnitContent::File(text) => tree.run_file(&path, text),
            UnitContent::Link(target) => {
                tree.link(format!("usr/lib/bcvk/run/{path}"), target.clone());
            }
        }
    }
}

/// Adds the configuration of the real root's systemd: a login on the console without a password,
/// and the environment of services.
pub(super) fn add_manager_options(tree: &mut Tree, spec: &VmSpec) {
    if spec.console == Console::Interactive {
        tree.run_file(
            "systemd/system/serial-getty@.service.d/50-bcvk.conf",
            include_str!("../units/autologin.conf"),
        );
    }
    if !spec.env.is_empty() {
        tree.run_file(
            "systemd/system.conf.d/50-bcvk.conf",
            &format!("[Manager]\nDefaultEnvironment={}\n", manager_env(&spec.env)),
        );
    }
}
