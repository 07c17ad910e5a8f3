//! Plugging devices into a machine that runs.

use std::io;

use bcvk_contract::spec::{Disk, Share, VmSpec};
use serde_json::json;

use super::args::{SPARE_BUS, disk_set};
use super::disks::node;
use super::monitor::Monitor;

/// The first usable slot of a bridge: 0 would be its hot-plug controller's.
const FIRST_SLOT: usize = 1;

/// Gives the machine the shares and disks of `spec`. The machine has the sockets of the shares' file
/// servers from its start on.
pub(crate) fn plug(monitor: &Monitor, spec: &VmSpec) -> io::Result<()> {
    let mut slots = FIRST_SLOT..;
    let mut next = || format!("{:#x}", slots.next().unwrap_or_default());
    for (index, share) in spec.shares.iter().enumerate() {
        plug_share(monitor, index, share, &next())?;
    }
    for (index, disk) in spec.disks.iter().enumerate() {
        plug_disk(monitor, index, disk, &next())?;
    }
    Ok(())
}

fn plug_share(monitor: &Monitor, index: usize, share: &Share, slot: &str) -> io::Result<()> {
    monitor.ask(
        "device_add",
        &json!({
            "driver": "vhost-user-fs-pci",
            "bus": SPARE_BUS,
            "addr": slot,
            "chardev": format!("share{index}"),
            "tag": share.tag,
            "queue-size": 1024,
        }),
    )?;
    Ok(())
}

fn plug_disk(monitor: &Monitor, index: usize, disk: &Disk, slot: &str) -> io::Result<()> {
    let (file, node) = (format!("file{index}"), node(index));
    monitor.ask(
        "blockdev-add",
        &json!({
            "driver": "file",
            "node-name": file,
            "filename": format!("/dev/fdset/{}", disk_set(index)),
            "discard": "unmap",
        }),
    )?;
    monitor.ask(
        "blockdev-add",
        &json!({
            "driver": disk.format.to_string(),
            "node-name": node,
            "file": file,
            "discard": "unmap",
            "detect-zeroes": "unmap",
        }),
    )?;
    monitor.ask(
        "device_add",
        &json!({
            "driver": "virtio-blk-pci",
            "bus": SPARE_BUS,
            "addr": slot,
            "drive": node,
            "serial": disk.name,
        }),
    )?;
    Ok(())
}
