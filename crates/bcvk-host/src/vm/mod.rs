//! One VM on the host: its directory, its container, and its start.

pub(crate) mod dir;
pub(crate) mod held_dir;
pub(crate) mod launch;
pub(crate) mod runner;
pub(crate) mod shared_dir;
pub(crate) mod started;
