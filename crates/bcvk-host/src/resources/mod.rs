//! Resources of the host that a VM is given, and how much of each.

pub(crate) mod cloud_init;
pub(crate) mod disk;
pub(crate) mod ignition;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod network;
pub(crate) mod output;
pub(crate) mod share;
pub(crate) mod space;
pub(crate) mod storage;
pub(crate) mod units;
