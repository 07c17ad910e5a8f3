//! The user's side of bcvk: finding tools, asking podman, keeping VM directories.

mod checks;
mod error;
mod follow;
#[cfg(any(test, fuzzing))]
#[allow(clippy::disallowed_methods, reason = "reads seeds")]
pub mod fuzzing;
pub mod health;
mod image;
mod launch;
pub mod podman;
mod resources;
#[allow(
    clippy::disallowed_methods,
    reason = "opens what the host has sealed, and files of the kernel's"
)]
mod saved;
pub mod shell;
pub mod ssh;
pub mod timeline;
mod vm;

pub use checks::accel::{AccelChoice, AccelRequest, choose_accelerator};
pub use checks::account::home;
pub use checks::nested::check_nested;
pub use checks::open_files::{allow_open_files, ulimits};
pub use checks::subids::check_sub_ids;
pub use checks::tools::{Tool, Version, check_user_network, find_tool};
pub use checks::trial::try_container;
pub use error::{FileError, HostError, ImageError, Operation, WatchError};
pub use follow::activity::Activity;
pub use follow::boot_times::{BootKind, BootTime, BootTimes};
pub use follow::command_output::CommandOutput;
pub use follow::log::{GuestLog, LogFollower};
pub use follow::session::Session;
pub use follow::watch::{LAST_WORD, SSH_LOST, SessionEnd, SignalSource, Target, VmEvent, Watcher};
pub use image::inspect::{ImageInfo, PullPolicy};
pub use image::list::BootableImage;
pub use launch::runner::Runner;
pub use launch::started::Started;
pub use launch::{Launch, sweep, write_ssh_access};
pub use podman::ImageClaims;
pub use resources::cloud_init::read_user_data;
pub use resources::disk::{NewDisk, ResolvedDisk, resolve_disk};
pub use resources::ignition::read_ignition;
pub use resources::limits::container_limits;
pub use resources::memory::{available_memory, check_memory};
pub use resources::network::{domain, guest_network, has_neighbours};
pub use resources::output::{output_directory, output_file};
pub use resources::share::resolve_share;
pub use resources::space::free_space;
pub use resources::units::read_units;
pub use saved::{
    HeldSnapshot, SnapshotAbout, SnapshotEntry, SnapshotKey, Snapshots, keep_snapshot,
};
pub use ssh::proxy::{proxy, relay_in_container};
pub use vm::dir::{VmDir, VmDirs};
pub use vm::shared_dir::SharedDir;
