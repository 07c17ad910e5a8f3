//! Ephemeral VMs from bootc container images.
//!
//! This crate is everything bcvk does apart from its command line: it knows no flags and prints
//! nothing. Imports point downward only, in this order:
//!
//! - [`host`]: podman, image inspection, VM directories — runs where the user is
//! - [`supervisor`]: file servers, QEMU, shutdown — runs as PID 1 of the container
//! - [`guest`]: the units and the agent that travel into the VM
//! - [`ssh`]: keys and the client's configuration
//! - [`snapshot`]: a VM that was saved, as files
//! - [`timeline`]: a boot on one axis, of what host and guest say
//! - [`status`]: what the supervisor writes and the host reads
//! - [`spec`]: what a VM is; the one thing that crosses from the host into the container
//! - `shared`: the files through which a container speaks to its host
//! - `bounded`, [`linkage`], [`missing`], `procfs`, `untrusted`, [`shell`]: helpers for files and command
//!   lines
//!
//! Above all of them, in tests and fuzzing only: `fuzzing`, each parser of what others wrote.

mod bounded;
#[cfg(any(test, fuzzing))]
#[allow(clippy::disallowed_methods, reason = "reads seeds")]
pub mod fuzzing;
#[allow(clippy::disallowed_methods, reason = "runs in the guest")]
pub mod guest;
pub mod host;
pub mod linkage;
pub mod missing;
mod procfs;
mod shared;
pub mod shell;
#[allow(
    clippy::disallowed_methods,
    reason = "opens what the host has sealed, or what the container has of its own"
)]
pub mod snapshot;
pub mod spec;
pub mod ssh;
#[allow(
    clippy::disallowed_methods,
    reason = "the container writes its own files"
)]
pub mod status;
#[allow(clippy::disallowed_methods, reason = "runs in the container")]
pub mod supervisor;
pub mod timeline;
mod untrusted;
