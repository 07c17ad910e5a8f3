//! ssh's `ProxyCommand`, which connects stdin and stdout with who serves sessions in the guest.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use bcvk_contract::session_user;
use bcvk_contract::spec::{CONTAINER_EXE, CONTAINER_VM_DIR, in_container};

use crate::HostError;
use crate::podman::Podman;
use crate::vm::dir::VmDir;
use crate::vm::shared_dir::SharedDir;

/// Connects stdin and stdout with the VM's SSH socket until either side ends.
///
/// If the socket cannot be reached from here (podman's storage and the VM directory can be on two
/// machines), the same thing is run inside the container through `podman exec`. bcvk's own way in is told
/// which `user` logs in.
pub fn proxy(dir: &VmDir, podman: Option<&Podman>, user: Option<&str>) -> Result<(), HostError> {
    let stream = match (dir.shared().connect_to_sshd(), podman) {
        (Ok(stream), _) => stream,
        (Err(_), Some(podman)) if dir.container_id().is_some() => {
            return Err(exec_in_container(dir, podman, user));
        }
        (Err(source), _) => {
            return Err(HostError::Io {
                action: "reach the VM".to_owned(),
                source,
            });
        }
    };
    relay(&stream, user).map_err(HostError::io("relay the SSH connection"))
}

/// Connects stdin and stdout with the SSH socket in `dir`, where a supervisor keeps it.
///
/// # Errors
/// If the socket cannot be reached.
pub fn relay_in_container(dir: &Path, user: Option<&str>) -> Result<(), HostError> {
    let stream = SharedDir::at(dir).connect_to_sshd();
    let stream = stream.map_err(HostError::io("reach the VM"))?;
    relay(&stream, user).map_err(HostError::io("relay the SSH connection"))
}

fn exec_in_container(dir: &VmDir, podman: &Podman, user: Option<&str>) -> HostError {
    let id = dir.container_id().unwrap_or_default();
    let source = Command::new(podman.program())
        .args(["exec", "--interactive", &id])
        .arg(in_container(dir.id(), CONTAINER_EXE))
        .args(["internal", "relay"])
        .arg(in_container(dir.id(), CONTAINER_VM_DIR))
        .args(user)
        .exec();
    HostError::Io {
        action: "run podman exec".to_owned(),
        source,
    }
}

fn relay(stream: &UnixStream, user: Option<&str>) -> io::Result<()> {
    let mut to_guest = stream.try_clone()?;
    if let Some(user) = user {
        to_guest.write_all(session_user::line(user).as_bytes())?;
    }
    thread::spawn(move || {
        let _ = pump(&mut io::stdin().lock(), &mut to_guest);
        let _ = to_guest.shutdown(Shutdown::Write);
    });
    // When the guest has said everything, nothing more can follow from stdin.
    pump(&mut &*stream, &mut io::stdout().lock())
}

/// Copies without a buffer: `io::copy` would buffer small writes on stdout, and an interactive
/// session needs each at once.
fn pump(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                to.write_all(&buffer[..n])?;
                to.flush()?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
