//! The process that becomes one of a user's session.
//!
//! A controlling terminal and a user are given up and taken by a process of its own before it executes
//! another program: the standard library has no safe way to do it between `fork` and `exec`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use rustix::process::{Gid, Uid, geteuid, ioctl_tiocsctty, setsid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};

use super::sftp;

/// Description of a session's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// ID of the user.
    pub uid: u32,
    /// ID of the user's own group.
    pub gid: u32,
    /// All groups that the user is in.
    pub groups: Vec<u32>,
    /// Standard input is the terminal that controls the session.
    pub terminal: bool,
    /// The program is a shell that the user logs in with.
    pub login: bool,
}

impl FromStr for Launch {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

impl fmt::Display for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Makes this process the leader of a session of the user, and executes `command`; without one it serves
/// files with SFTP instead. The environment is the session's. Returns only if that fails, or at the end
/// of SFTP.
///
/// # Errors
/// If the process may not become the user's, or the program cannot be executed.
pub fn exec_session(launch: &Launch, command: &[OsString]) -> io::Result<()> {
    setsid()?;
    if launch.terminal {
        ioctl_tiocsctty(rustix::stdio::stdin())?;
    }
    // IDs are of one thread each (setgroups(2), "C library/kernel differences"), and there is one.
    // Anybody but root may become only themselves, with the groups that they have.
    if geteuid().is_root() {
        let groups: Vec<_> = launch.groups.iter().copied().map(Gid::from_raw).collect();
        set_thread_groups(&groups)?;
    }
    let gid = Gid::from_raw(launch.gid);
    set_thread_res_gid(gid, gid, gid)?;
    let uid = Uid::from_raw(launch.uid);
    set_thread_res_uid(uid, uid, uid)?;
    enter_home();
    let Some((program, arguments)) = command.split_first() else {
        return sftp::serve(&mut io::stdin().lock(), &mut io::stdout().lock());
    };
    let name = name(program, launch.login);
    Err(Command::new(program).args(arguments).arg0(name).exec())
}

/// Changes to the home directory. Where there is none, the user is at `/`, as of OpenSSH's server.
fn enter_home() {
    let home = env::var_os("HOME").unwrap_or_default();
    if env::set_current_dir(home).is_err() {
        let _ = env::set_current_dir("/");
    }
}

/// Returns the name that a program is told, as OpenSSH's server does it. A dash tells a shell that its
/// user logs in (login(1)).
fn name(program: &OsStr, login: bool) -> OsString {
    let mut name = OsString::from(if login { "-" } else { "" });
    name.push(Path::new(program).file_name().unwrap_or(program));
    name
}
