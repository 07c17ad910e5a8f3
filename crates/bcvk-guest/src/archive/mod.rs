//! The archive that is appended to the image's initramfs: units and files for the initramfs and for
//! the real root.

mod absent;
mod cloud_init;
pub(crate) mod env;
pub(crate) mod execute;
mod initrd;
mod journal;
mod login;
pub(crate) mod mounts;
mod network;
pub(crate) mod ssh;
mod system;
mod tree;

use bcvk_contract::spec::{Fidelity, Initramfs, Karg, Login, Purpose, VmSpec};

pub use cloud_init::user_data_entries;
pub use initrd::wait_entries;
pub use tree::{Content, Entry};

use crate::absent::Absent;
use crate::facts::GuestFacts;
use crate::masks;
use tree::Tree;

/// Returns everything that is added to the initramfs for `spec` on an image with `facts` and its
/// kernel arguments, without what is `absent`, but for bcvk itself.
#[must_use]
pub fn initramfs_entries(
    spec: &VmSpec,
    facts: &GuestFacts,
    absent: &Absent,
    from_image: &[Karg],
) -> Vec<Entry> {
    let mut tree = Tree::default();
    let masks = masks::masks(spec, facts, from_image);
    initrd::add_plan(&mut tree, spec, facts, from_image);
    if spec.initramfs == Initramfs::Image {
        initrd::add_units(&mut tree, spec, &masks);
    }
    system::add_masks(&mut tree, &masks);
    if spec.fidelity == Fidelity::Fast {
        system::add_loaded(&mut tree);
    }
    mounts::add_kept(&mut tree, facts);
    absent::add_absent(&mut tree, spec, absent);
    absent::add_link_to_wait_for(&mut tree, spec, facts);
    system::add_reports(&mut tree);
    match &spec.ssh {
        Some(access) if access.login == Login::Image => {
            ssh::add_sshd(&mut tree, access, spec.network, facts);
        }
        Some(access) => login::add_login(&mut tree, spec, access, facts),
        None => {}
    }
    ssh::add_host_key(&mut tree, spec, facts);
    match spec.purpose() {
        Purpose::Login | Purpose::Boot => system::add_up(&mut tree),
        // The unit of its commands says that the system is up.
        Purpose::Execute => {}
    }
    network::add_network(&mut tree, spec, facts);
    if spec.login() != Some(Login::Own) {
        network::add_listening(&mut tree, spec.expose);
    }
    if spec.snapshot.is_some() {
        execute::add_agent(&mut tree, facts);
    }
    add_options(&mut tree, spec, facts);
    tree.0
}

/// Adds what a VM has only because its user asked for it.
fn add_options(tree: &mut Tree, spec: &VmSpec, facts: &GuestFacts) {
    mounts::add_shares(tree, &spec.shares);
    if spec.swap.is_some() {
        mounts::add_swap(tree);
    }
    if spec.host_storage {
        system::add_host_storage(tree, facts);
    }
    system::add_user_units(tree, &spec.units);
    if spec.wants_journal() {
        journal::add_journal(tree);
    }
    match spec.purpose() {
        Purpose::Execute => execute::add_commands(tree, &spec.execute, facts),
        Purpose::Login | Purpose::Boot => {}
    }
    system::add_manager_options(tree, spec);
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use bcvk_contract::spec::Fidelity;

    use super::*;
    use crate::facts::Sshd;
    use crate::masks::Masks;
    use crate::rooted;

    #[test]
    fn what_is_added_to_the_initramfs() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let mut text = String::new();
        for entry in initramfs_entries(
            &bcvk_contract::examples::example(),
            &facts,
            &Absent::default(),
            &[],
        ) {
            let content = match entry.content {
                Content::Link(target) => format!(" -> {target}"),
                // Fixed texts are in units/; only those that depend on the VM are worth showing.
                Content::File(text) if entry.path.contains("virtiofs") => format!(":\n{text}"),
                Content::File(text) if text.contains("GREETING") => format!(":\n{text}"),
                Content::File(_) => String::new(),
                Content::Secret(_) => " (secret)".to_owned(),
            };
            let _ = writeln!(text, "{}{content}", entry.path);
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_guest_that_waits_has_a_mark_and_waits_last() {
        let paths = |initramfs| {
            let spec = VmSpec {
                initramfs,
                ..bcvk_contract::examples::example()
            };
            let entries = wait_entries(&spec).into_iter();
            entries.map(|entry| entry.path).collect::<Vec<_>>()
        };
        let mark = "/usr/lib/bcvk/waits";
        let order = "etc/systemd/system/bcvk-sysroot.service.d/50-wait.conf";
        assert_eq!(paths(Initramfs::Direct), [mark]);
        assert_eq!(paths(Initramfs::Image), [mark, order]);
    }

    #[test]
    fn all_of_the_images_boot_is_left_if_it_is_wanted() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let spec = |fidelity: Fidelity| VmSpec {
            fidelity,
            ..bcvk_contract::examples::example()
        };
        let masked = |spec: &VmSpec| {
            let entries = initramfs_entries(spec, &facts, &Absent::default(), &[]).into_iter();
            entries
                .filter(|e| e.content == Content::Link("/dev/null".to_owned()))
                .count()
        };
        assert_eq!(masked(&spec(Fidelity::Full)), 0);
        let fast = spec(Fidelity::Fast);
        let Masks {
            initrd_units,
            units,
            generators,
        } = masks::masks(&fast, &facts, &[]);
        let expected = initrd_units.len() + units.len() + 2 * generators.len();
        assert_eq!(masked(&fast), expected);
        assert!(expected > 20);
    }

    #[test]
    fn no_placeholder_is_left_in_a_unit() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        for entry in initramfs_entries(
            &bcvk_contract::examples::example(),
            &facts,
            &Absent::default(),
            &[],
        ) {
            if let Content::File(text) | Content::Secret(text) = entry.content {
                let mut between = text.split('@').skip(1);
                let placeholder = between
                    .find(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase()));
                assert_eq!(placeholder, None, "{}", entry.path);
            }
        }
    }

    #[test]
    fn keys_travel_as_a_tmpfiles_snippet() {
        let image = tempfile::tempdir().expect("temporary directory");
        let root = rooted::Rooted::new(image.path()).expect("root");
        let facts = GuestFacts::read(&root).expect("facts of an empty tree");
        let spec = bcvk_contract::examples::example();
        let facts = GuestFacts {
            sshd: Sshd::BinaryOnly {
                path: "/usr/sbin/sshd".into(),
            },
            ..facts
        };
        let secrets: Vec<Entry> = initramfs_entries(&spec, &facts, &Absent::default(), &[])
            .into_iter()
            .filter(|entry| matches!(entry.content, Content::Secret(_)))
            .collect();
        let mut text = String::new();
        for secret in secrets {
            let Content::Secret(snippet) = secret.content else {
                continue;
            };
            let _ = write!(text, "{}:\n{snippet}", secret.path);
        }
        insta::assert_snapshot!(text);
    }
}
