//! What happens where the user is: finding tools, asking podman, keeping VM directories.

mod accel;
mod activity;
mod boot_times;
mod command;
mod console;
mod disk;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod ignition;
mod image;
mod images;
mod launch;
mod limits;
pub(crate) mod lock;
mod made;
mod memory;
mod open_files;
pub mod podman;
mod proxy;
mod runner;
#[allow(
    clippy::disallowed_methods,
    reason = "opens what the host has sealed, and files of the kernel's"
)]
mod saved;
mod session;
mod shared;
mod space;
mod storage;
mod subids;
mod tools;
mod trial;
mod units;
mod vmdir;
mod watch;

pub use accel::{AccelChoice, AccelRequest, choose_accelerator};
pub use activity::Activity;
pub use boot_times::{BootKind, BootTime, BootTimes};
pub use command::CommandOutput;
pub(crate) use console::earlier;
pub use console::{GuestLog, LogFollower};
pub use disk::{NewDisk, ResolvedDisk, resolve_disk};
pub use error::{HostError, Operation};
pub use ignition::read_ignition;
pub use image::{ImageClaims, ImageInfo, PullPolicy};
pub use images::BootableImage;
pub use launch::{Launch, Started, sweep, write_ssh_access};
pub use limits::container_limits;
pub use lock::Lock;
pub use made::{output_directory, output_file};
pub use memory::{available_memory, check_memory};
pub use open_files::allow_open_files;
pub use proxy::{proxy, relay_in_container};
pub use runner::Runner;
pub use saved::{
    HeldSnapshot, SnapshotAbout, SnapshotEntry, SnapshotKey, Snapshots, keep_snapshot,
};
pub use session::Session;
pub use shared::SharedDir;
pub use space::free_space;
pub use subids::check_sub_ids;
pub use tools::{Tool, Version, find_tool};
pub use trial::try_container;
pub use units::read_units;
pub use vmdir::{VmDir, VmDirs};
pub use watch::{SignalSource, Target, WatchEvent, Watcher};
