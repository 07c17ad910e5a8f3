//! The process that becomes one of a user's session, for tests of the SSH server.

use std::env;
use std::io;

use bcvk_guest::login::{Launch, exec_session};

fn main() -> io::Result<()> {
    let mut words = env::args_os().skip(1);
    let launch = words.next().unwrap_or_default();
    let launch: Launch = launch.to_string_lossy().parse()?;
    exec_session(&launch, &words.collect::<Vec<_>>())
}
