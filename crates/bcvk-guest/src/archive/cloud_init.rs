//! The user's data for cloud-init, where its data source NoCloud looks for them without a disk
//! (cloud-init's documentation, "NoCloud").

use bcvk_contract::spec::VmSpec;

use super::tree::{Entry, Tree};
use crate::early;

/// Directory of the data, without a leading slash.
const SEED: &str = "var/lib/cloud/seed/nocloud";

/// Returns what `initramfs_entries` returns, for these `user_data` alone.
#[must_use]
pub fn user_data_entries(spec: &VmSpec, user_data: String) -> Vec<Entry> {
    let mut tree = Tree::default();
    let seed = format!("{}/{SEED}", early::DIR.trim_start_matches('/'));
    // An instance is what cloud-init configures once.
    let metadata = format!("instance-id: {}\n", spec.name);
    tree.secret(format!("{seed}/meta-data"), metadata);
    tree.secret(format!("{seed}/user-data"), user_data);
    tree.0
}
