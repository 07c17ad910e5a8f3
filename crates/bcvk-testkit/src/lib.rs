//! Tools for bcvk's black-box tests: the binary in an environment of its own, limits on every wait,
//! and a guard that fails a test which leaves anything behind.
//!
//! A test makes a [`Sandbox`], runs commands in it and calls [`Sandbox::finish`]:
//!
//! ```no_run
//! # use bcvk_testkit::{Sandbox, images};
//! let sandbox = Sandbox::new();
//! let vm = sandbox.boot("vm", &["--rm"], images::trixie());
//! assert_eq!(vm.sh("echo hello"), "hello");
//! vm.stop();
//! sandbox.finish();
//! ```
#![allow(
    clippy::missing_panics_doc,
    reason = "a test kit panics: that is how tests fail"
)]

mod autopsy;
mod binary;
mod checks;
mod cmd;
pub mod drive;
mod every;
mod fake;
mod guard;
pub mod images;
mod output;
mod port;
mod process;
mod registry;
mod rootless;
mod running;
mod sandbox;
pub mod schema;
pub mod seeds;
mod skip;
mod storage;
mod strays;
mod terminal;
mod tmpfs;
mod vm;
mod wait;

pub use checks::Checks;
pub use cmd::Cmd;
pub use fake::FakeTools;
pub use output::Output;
pub use port::{ReservedPort, expect_sshd};
pub use process::{MappedFile, Process};
pub use registry::Registry;
pub use running::Running;
pub use rustix::process::Signal;
pub use sandbox::Sandbox;
pub use terminal::Terminal;
pub use tmpfs::Tmpfs;
pub use vm::Vm;
pub use wait::{until, until_some};

/// Limits of waits. They are far above what a loaded machine without KVM needs, so that only what
/// never happens reaches them.
pub mod limit {
    use std::time::Duration;

    /// Limit for a command that starts no VM.
    pub const QUICK: Duration = Duration::from_secs(30);
    /// Limit for a command that boots a VM, or for one in a VM that may still boot.
    pub const BOOT: Duration = Duration::from_secs(360);
    /// Limit for a guest's shutdown.
    pub const SHUTDOWN: Duration = Duration::from_secs(60);
    /// Limit for everything to be gone after any end, as the program promises.
    pub const GONE: Duration = Duration::from_secs(5);
}
