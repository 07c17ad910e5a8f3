//! Additions to the guest: units for its initramfs and its real root, and its keys.
//!
//! All of them travel the same way for every systemd and every architecture: in a cpio archive
//! after the image's initramfs.

mod absent;
pub mod agent;
mod archive;
pub mod early;
pub mod facts;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod login;
mod masks;
mod personal;
mod port;
mod resumed;
pub mod rooted;
pub mod services;
mod storage;
mod unit_name;

pub use absent::Absent;
pub use archive::{Content, Entry, initramfs_entries, user_data_entries, wait_entries};
pub use personal::{OpenIdentity, hostname, personal};
pub use port::tell;
