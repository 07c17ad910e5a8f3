//! Everything that crosses a boundary between bcvk's processes: its types, its files and its bounds.
//!
//! - [`spec`]: describes a VM; the host writes it and the container reads it
//! - [`status`]: says how the VM fares; the container writes it and the host reads it
//! - [`shared`]: lays out the directory through which a container speaks to its host
//! - [`snapshot`]: lays out a saved VM
//! - [`exit`]: numbers the ways in which a VM ends
//! - [`control`]: spells the messages of the guest
//! - [`listening`]: names the ports on which a guest listens
//! - [`guest_port`], [`user_net`]: number the ports through which the guest speaks, and name its addresses
//! - [`checkpoint`]: requests for checkpoints of a running VM, and the answers
//! - [`session_user`]: says who is about to log in
//! - [`lock`]: marks files and directories as in use by a process that lives
//! - [`limits`]: sizes and times that both sides of the container must agree on
//! - [`key_pair`]: makes the keys that a VM lets in and is known by
//! - [`replace`](mod@replace): writes files that others read meanwhile
//! - [`bounded`], [`untrusted`], [`procfs`], [`missing`], [`linkage`]: read files as carefully as their writers
//!   are trusted

pub mod bounded;
pub mod checkpoint;
pub mod control;
#[cfg(any(test, feature = "examples"))]
pub mod examples;
pub mod exit;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod guest_port;
pub mod key_pair;
pub mod limits;
pub mod linkage;
pub mod listening;
pub mod lock;
pub mod missing;
pub mod procfs;
pub mod replace;
pub mod session_user;
pub mod shared;
pub mod snapshot;
pub mod spec;
pub mod status;
pub mod untrusted;
pub mod user_net;
