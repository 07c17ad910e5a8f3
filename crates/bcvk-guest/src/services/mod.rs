//! Work of bcvk's own services in the guest, besides the [agent](crate::agent)'s.

mod execute;
mod failed;
mod journal;
mod listening;
mod netlink;
mod network;
mod next_root;
mod refusals;

use std::io;
use std::process::{Child, Command, Stdio};

pub use execute::execute;
pub use failed::report_failed;
pub use journal::send_journal;
pub use listening::report_listening;
pub use network::configure_network;
pub use next_root::keep_program;
pub use refusals::report_refusals;

pub(crate) use execute::COMMANDS;

/// Makes the command `program ARGS`, whose standard error [`ended`] returns.
pub(crate) fn command<'a>(program: &str, args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Makes the command `systemctl ARGS`, and runs it.
pub(crate) fn systemctl<'a>(args: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
    ended(command("systemctl", args).spawn()?)
}

/// Waits for a [`command`]; its output is the error if it fails.
pub(crate) fn ended(command: Child) -> io::Result<()> {
    let done = command.wait_with_output()?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).replace('\n', " ");
    Err(io::Error::other(said))
}
