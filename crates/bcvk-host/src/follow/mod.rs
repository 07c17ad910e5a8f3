//! Following a VM: its state, its console, and the sessions in it.

pub(crate) mod activity;
pub(crate) mod boot_times;
pub(crate) mod command_output;
pub(crate) mod log;
pub(crate) mod session;
pub(crate) mod watch;
