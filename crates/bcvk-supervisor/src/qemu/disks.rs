//! Disks of a machine: the user's, the swap device and that of `/var`.

use bcvk_contract::spec::{DiskFormat, SWAP_NAME, VAR_NAME, VmSpec};

/// A disk as QEMU is told of it.
pub(super) struct BlockDevice<'a> {
    /// Serial number.
    pub(super) name: &'a str,
    pub(super) format: DiskFormat,
    /// True for the disk of `/var`. Nobody reads it after the VM, so the guest need not wait for the
    /// host's disk.
    pub(super) is_var: bool,
}

/// Returns the disks in the order of their descriptors.
pub(super) fn disks(spec: &VmSpec) -> impl Iterator<Item = BlockDevice<'_>> {
    let user_disks = spec.disks.iter().map(|d| (d.name.as_str(), d.format));
    let swap = spec.swap.map(|_| (SWAP_NAME, DiskFormat::Raw));
    let var = spec.var.disk().map(|_| (VAR_NAME, DiskFormat::Raw));
    let all = user_disks.chain(swap).chain(var);
    all.map(|(name, format)| BlockDevice {
        name,
        format,
        is_var: name == VAR_NAME,
    })
}

/// Names the block node of a disk by its place in [`disks`].
pub(super) fn node(index: usize) -> String {
    format!("disk{index}")
}

/// Returns the name of the disk that QEMU knows as `node`.
pub(crate) fn disk_of_node<'a>(spec: &'a VmSpec, name: &str) -> Option<&'a str> {
    let mut nodes = disks(spec).enumerate();
    let (_, disk) = nodes.find(|(index, _)| node(*index) == name)?;
    Some(disk.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcvk_contract::examples::example;

    #[test]
    fn a_node_leads_back_to_its_disk() {
        let spec = example();
        for (node, disk) in [
            ("disk0", Some("data")),
            ("disk1", Some("bcvk-swap")),
            ("disk2", Some("bcvk-var")),
            ("disk3", None),
            ("disk00", None),
            ("#block123", None),
        ] {
            assert_eq!(disk_of_node(&spec, node), disk, "{node}");
        }
    }
}
