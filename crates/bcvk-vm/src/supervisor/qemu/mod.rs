//! QEMU: its argument list (pure), its confinement, and its monitor.

mod args;
pub(super) mod confine;
pub(super) mod monitor;

use std::ffi::OsString;

pub(super) use args::{Machine, ROOT_TAG, args};

use crate::spec::VmSpec;

/// The argument list for `spec`, with placeholders for what only a running supervisor knows.
#[must_use]
pub fn plan_for_display(spec: &VmSpec) -> Vec<OsString> {
    args(&Machine {
        spec,
        kernel: "KERNEL".into(),
        initrd: "INITRD".into(),
        cmdline: "KERNEL-ARGUMENTS".to_owned(),
        memory: "MEMORY".into(),
        oem_strings: "CREDENTIALS".into(),
        root_socket: "ROOT-SOCKET".into(),
        share_sockets: spec
            .shares
            .iter()
            .map(|share| format!("SOCKET-OF-{}", share.tag).into())
            .collect(),
        ssh_port: 2222,
        console_fd: 3,
        control_fd: 4,
        monitor_fd: 5,
    })
}
