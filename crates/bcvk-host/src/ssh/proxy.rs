//! ssh's `ProxyCommand`, which connects stdin and stdout with who serves sessions in the guest.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use bcvk_contract::lock::Lock;
use bcvk_contract::session_user;
use bcvk_contract::spec::{CONTAINER_EXE, CONTAINER_VM_DIR, in_container};
use bcvk_contract::status::Held;

use super::handshake::Handshake;
use crate::HostError;
use crate::podman::Podman;
use crate::vm::dir::VmDir;
use crate::vm::shared_dir::SharedDir;

/// Connects stdin and stdout with the VM's SSH socket until either side ends. Returns why the VM ended
/// the session, if it did so for a checkpoint's sake.
///
/// If the socket cannot be reached from here (podman's storage and the VM directory can be on two
/// machines), the same thing is run inside the container through `podman exec`. bcvk's own way in is told
/// which `user` logs in.
pub fn proxy(
    dir: &VmDir,
    podman: Option<&Podman>,
    user: Option<&str>,
) -> Result<Option<Held>, HostError> {
    let stream = match (dir.shared().connect_to_sshd(), podman) {
        (Ok(stream), _) => stream,
        (Err(_), Some(podman)) if dir.container_id().is_some() => {
            Gate::of(dir).pass();
            return Err(exec_in_container(dir, podman, user));
        }
        (Err(source), _) => {
            return Err(HostError::Io {
                action: "reach the VM".to_owned(),
                source,
            });
        }
    };
    let gate = Gate::of(dir);
    relay(&stream, &gate, user).map_err(HostError::io("relay the SSH connection"))?;
    let status = dir.shared().status().ok().flatten();
    Ok(status.and_then(|status| status.held))
}

/// Connects stdin and stdout with the SSH socket in `dir`, where a supervisor keeps it.
///
/// # Errors
/// If the socket cannot be reached.
pub fn relay_in_container(dir: &Path, user: Option<&str>) -> Result<(), HostError> {
    let stream = SharedDir::at(dir).connect_to_sshd();
    let stream = stream.map_err(HostError::io("reach the VM"))?;
    relay(&stream, &Gate::open(), user).map_err(HostError::io("relay the SSH connection"))
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

/// The wait of sessions for a VM that is not ready, while the command that boots it says so.
#[derive(Clone)]
struct Gate(Option<Arc<File>>);

impl Gate {
    fn of(dir: &VmDir) -> Self {
        Self(dir.sessions_lock_file().map(Arc::new))
    }

    fn open() -> Self {
        Self(None)
    }

    /// Waits until sessions may go on.
    fn pass(&self) {
        if let Some(lock) = &self.0
            && let Ok(lock) = lock.try_clone()
        {
            // Without a lock, nobody could be waited for.
            let _ = Lock::shared(lock);
        }
    }
}

fn relay(stream: &UnixStream, gate: &Gate, user: Option<&str>) -> io::Result<()> {
    let mut to_guest = stream.try_clone()?;
    if let Some(user) = user {
        to_guest.write_all(session_user::line(user).as_bytes())?;
    }
    let until = gate.clone();
    thread::spawn(move || {
        let from = &mut io::stdin().lock();
        let _ = agree(from, &mut to_guest, &until).and_then(|()| pump(from, &mut to_guest));
        let _ = to_guest.shutdown(Shutdown::Write);
    });
    // When the guest has said everything, nothing more can follow from stdin. Where the VM has ended
    // before it was ready, ssh is not the one to say so.
    let said = pump(&mut &*stream, &mut io::stdout().lock());
    gate.pass();
    said
}

/// Copies what ssh says until both sides have keys; what follows, once sessions may go on.
fn agree(from: &mut impl Read, to: &mut impl Write, gate: &Gate) -> io::Result<()> {
    let mut handshake = Handshake::default();
    let mut buffer = vec![0; 64 * 1024];
    while gate.0.is_some() && !handshake.is_over() {
        let read = read_some(from, &mut buffer)?;
        let bytes = &buffer[..read];
        if bytes.is_empty() {
            break;
        }
        let (first, rest) = bytes.split_at(handshake.hear(bytes));
        to.write_all(first)?;
        if handshake.is_over() {
            gate.pass();
        }
        to.write_all(rest)?;
    }
    Ok(())
}

/// Copies without a buffer: `io::copy` would buffer small writes on stdout, and an interactive
/// session needs each at once.
fn pump(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match read_some(from, &mut buffer)? {
            0 => return Ok(()),
            n => {
                to.write_all(&buffer[..n])?;
                to.flush()?;
            }
        }
    }
}

fn read_some(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
