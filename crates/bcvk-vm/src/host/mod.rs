//! What happens where the user is: finding tools, asking podman, keeping VM directories.

mod accel;
mod console;
mod error;
mod image;
mod images;
mod launch;
pub mod podman;
mod proxy;
mod tools;
mod vmdir;
mod watch;

pub use accel::{AccelChoice, AccelRequest, choose_accelerator};
pub use console::{ConsoleFollower, ConsoleLog};
pub use error::{HostError, Operation};
pub use image::{ImageInfo, PullPolicy};
pub use images::BootableImage;
pub use launch::{Launch, Started, sweep};
pub use proxy::proxy;
pub use tools::{Tool, find_tool, host_memory};
pub use vmdir::{VmDir, VmDirs, VmLock};
pub use watch::{SignalSource, Target, WatchEvent, Watcher};
