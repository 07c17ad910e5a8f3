//! Units and files of the initramfs itself.

use bcvk_contract::guest_port;
use bcvk_contract::spec::{Fidelity, Initramfs, Karg, SwapSize, VmSpec};

use super::env::environment;
use super::journal::journal_unit;
use super::tree::{Entry, Tree};
use crate::early::{self, ApiMount, Plan};
use crate::facts::GuestFacts;
use crate::masks::Masks;

/// Adds the plan that [`crate::early`] reads.
pub(super) fn add_plan(tree: &mut Tree, spec: &VmSpec, facts: &GuestFacts, from_image: &[Karg]) {
    let plan = Plan {
        root: facts.root,
        var: facts.var.clone(),
        var_on: spec.var,
        swap: spec.swap.map_or(0, SwapSize::bytes),
        api_mounts: api_mounts(spec, facts, from_image),
        home: facts.root_home.clone(),
        environment: environment(&spec.env),
    };
    let plan = serde_json::to_string(&plan).expect("texts only");
    tree.file(&format!("{}/{}", early::DIR, early::PLAN), &plan);
}

/// Returns the file systems that systemd would mount unasked: neither user nor image says anything of their
/// units or mount points.
fn api_mounts(spec: &VmSpec, facts: &GuestFacts, from_image: &[Karg]) -> Vec<ApiMount> {
    if spec.fidelity == Fidelity::Full {
        return Vec::new();
    }
    let in_fstab = |on: &str| facts.fstab.split_ascii_whitespace().any(|word| word == on);
    let kargs = || from_image.iter().chain(&spec.kargs);
    let users = |unit: &str| spec.units.iter().any(|file| file.path.contains(unit));
    let is_plain = |api: &&ApiMount| {
        !in_fstab(&api.on)
            && !users(&api.unit)
            && !kargs().any(|karg| karg.to_string().contains(&api.unit))
    };
    let plain = facts.api_mounts.iter().filter(is_plain);
    plain.cloned().collect()
}

/// Makes the initramfs do all its other work before the image is mounted, and wait then: what is saved at
/// that moment has to have all of that work done, and nothing of the image.
#[must_use]
pub fn wait_entries(spec: &VmSpec) -> Vec<Entry> {
    let mut tree = Tree::default();
    tree.file(&format!("{}/{}", early::DIR, early::WAITS), "");
    if spec.initramfs == Initramfs::Image {
        tree.file(
            "etc/systemd/system/bcvk-sysroot.service.d/50-wait.conf",
            include_str!("../units/wait.conf"),
        );
    }
    tree.0
}

/// Adds the units for an image's own initramfs.
pub(super) fn add_units(tree: &mut Tree, spec: &VmSpec, masks: &Masks) {
    for (name, text) in [
        (
            "bcvk-sysroot.service",
            include_str!("../units/bcvk-sysroot.service"),
        ),
        (
            "bcvk-handover.service",
            include_str!("../units/bcvk-handover.service"),
        ),
        (
            "bcvk-failed.service",
            include_str!("../units/bcvk-failed.service"),
        ),
    ] {
        tree.initrd_service(name, text);
    }
    for (target, unit) in [
        ("initrd-root-fs.target.requires", "bcvk-sysroot.service"),
        ("initrd.target.requires", "bcvk-handover.service"),
        ("emergency.target.wants", "bcvk-failed.service"),
    ] {
        tree.initrd_wants(target, unit);
    }
    for unit in &masks.initrd_units {
        tree.mask(format!("etc/systemd/system/{unit}"));
    }
    for generator in &masks.generators {
        tree.mask(format!("etc/systemd/system-generators/{generator}"));
    }
    if spec.wants_journal() {
        tree.initrd_service(
            "bcvk-journal.service",
            &journal_unit(guest_port::INITRD_JOURNAL),
        );
        tree.initrd_wants("sysinit.target.wants", "bcvk-journal.service");
    }
}
