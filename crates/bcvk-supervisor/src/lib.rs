//! PID 1 of the container: serves the file systems, runs QEMU, and owns the end of both.
//!
//! Everything that can happen arrives as one [`Event`] in one queue. One loop ([`run`]) hands it to the
//! VM's [`life`], which decides, and carries out the actions that come back. Threads only wait: for
//! signals, the console, the control port, QMP, sshd's banner, the CLI's death, and for whatever
//! takes longer than a moment: making files, saving, resuming. Whatever ends the loop, the container ends with it, and the kernel takes every
//! process of its PID namespace along.

mod boot;
mod children;
mod console;
mod container;
mod control;
mod disks;
mod exposed;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod given;
mod journal;
mod keep;
mod knock;
mod landlock;
mod life;
#[cfg(test)]
mod noise;
mod points;
mod ports;
mod prepare;
mod problem;
mod qemu;
mod rights;
mod run;
mod sessions;
mod sshd;
mod streams;
mod syscalls;
mod tail;
mod threads;
mod trace;
mod user;
pub mod virtiofs;
mod warm;

pub use knock::Knocks;
pub use landlock::{LandlockSupport, landlock_support};
pub use qemu::confine::{QemuConfinement, exec_confined};
pub use qemu::plan_for_display as qemu_args_for_display;
pub use run::{run, run_in_pod, shell};

use qapi::qmp;
use std::process::ExitStatus;

/// Something that the supervisor reacts to.
#[derive(Debug)]
enum Event {
    /// A signal to PID 1.
    Signal(i32),
    /// A child has ended.
    Exited {
        /// Its process ID.
        pid: u32,
        /// How.
        status: ExitStatus,
    },
    /// The guest's console said something that matters.
    Console(console::Sign),
    /// The guest said something over the control port.
    Control(bcvk_contract::control::Message),
    /// QEMU said something.
    Qmp(Box<qmp::Event>),
    /// sshd sent its banner.
    Banner,
    /// The files that QEMU starts with have been made.
    Files(Box<run::Files>),
    /// The image has been looked at.
    Looked {
        /// The result.
        looked: life::Looked,
        /// Directories that a resumed guest would remember otherwise, relative to the image's root.
        aged: Vec<std::path::PathBuf>,
    },
    /// A guest has the names and keys of this VM.
    Known {
        /// Process ID of its QEMU.
        qemu: u32,
    },
    /// Work in the background has come to its end.
    Done(life::LifeEvent),
    /// The user asks for a checkpoint, or to be taken back to one.
    Asked(points::requests::Asked),
    /// A request has come to its end.
    Carried(run::Carried),
    /// Work in the background has panicked.
    Panicked,
    /// Something worth telling the user has happened.
    Warning(String),
    /// Nobody holds the CLI's lock any more.
    CliGone,
}
