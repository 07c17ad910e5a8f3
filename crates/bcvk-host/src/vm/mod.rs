//! The directory of a VM on the host, and what is read of it.

pub(crate) mod dir;
pub(crate) mod held_dir;
pub(crate) mod shared_dir;
