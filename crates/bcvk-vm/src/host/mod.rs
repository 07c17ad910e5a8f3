//! What happens where the user is: finding tools, asking podman, keeping VM directories.

mod accel;
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
pub(crate) mod lock;
mod made;
mod memory;
mod open_files;
pub mod podman;
mod proxy;
mod runner;
mod snapshots;
mod tools;
mod units;
mod vmdir;
mod watch;

pub use accel::{AccelChoice, AccelRequest, choose_accelerator};
pub use command::CommandOutput;
pub(crate) use console::earlier;
pub use console::{GuestLog, LogFollower};
pub use disk::{NewDisk, ResolvedDisk, resolve_disk};
pub use error::{HostError, Operation};
pub use ignition::read_ignition;
pub use image::{ImageInfo, PullPolicy};
pub use images::BootableImage;
pub use launch::{Launch, Started, fill_vm_dir, sweep};
pub use lock::Lock;
pub use made::{output_directory, output_file};
pub use memory::check_memory;
pub use open_files::allow_open_files;
pub use proxy::proxy;
pub use runner::Runner;
pub use snapshots::{HeldSnapshot, SnapshotAbout, SnapshotEntry, SnapshotKey, Snapshots};
pub use tools::{Tool, find_tool};
pub use units::read_units;
pub use vmdir::{VmDir, VmDirs};
pub use watch::{SignalSource, Target, WatchEvent, Watcher};
