//! Programs that drive VMs outside of tests: the bench and the torture. Where a test panics, these return
//! errors, undo what they have started, and can be interrupted.

pub mod build;
pub mod error;
pub mod interrupt;
pub mod process;
pub mod together;
pub mod vms;

use std::io::Write;
use std::process::ExitCode;

/// Tells the user how far the program is. A closed stderr is no reason to stop.
pub fn say(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// Runs `task` so that signals end it through its ordinary way out, and reports its error.
pub fn main(task: impl FnOnce() -> error::Result<()>) -> ExitCode {
    match interrupt::install().and_then(|()| task()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
