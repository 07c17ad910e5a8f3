//! The connection to the guest's sshd: measuring when sshd answers, and carrying sessions to it.
//!
//! Readiness is measured on the path that sessions take, so "ready" means that ssh works.

use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::missing::if_exists;
use bcvk_contract::spec::GuestPort;
use bcvk_guest::facts::SSH_PORT;

use crate::Event;
use crate::knock::{Knocks, RETRY, SILENCE};
use crate::threads;

/// Limit for the time that sshd takes for its banner once it has accepted. Giving up early would cost
/// a busy guest another process.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between attempts to reach sshd while no knock has been answered: a firewall in the guest may
/// drop what it should refuse.
const WITHOUT_ANSWER: Duration = Duration::from_secs(15);

/// Time for which the connection on which the banner arrived is kept for the first session. It is
/// below sshd's `LoginGraceTime` of 120 s.
const KEEP: Duration = Duration::from_secs(30);

/// A connection whose banner has been read.
struct Greeted {
    stream: TcpStream,
    banner: Vec<u8>,
    since: Instant,
}

/// The guest's sshd behind QEMU's forwarded port.
#[derive(Clone)]
pub(super) struct Sshd {
    address: SocketAddr,
    knock: SocketAddr,
    greeted: Arc<Mutex<Option<Greeted>>>,
}

impl Sshd {
    /// Makes the sshd that QEMU forwards a port of the container's loopback to.
    pub(super) fn new(ports: Ports) -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, ports.ssh).into(),
            knock: (Ipv4Addr::LOCALHOST, ports.knock).into(),
            greeted: Arc::default(),
        }
    }

    /// Tries until sshd has sent its banner, then reports that. The connection is kept: the first
    /// session takes it over, which saves the guest a second sshd process. `accepted` tells whether
    /// the guest has accepted the connection that is being tried: slirp accepts it long before.
    pub(super) fn await_banner(
        &self,
        accepted: impl Fn() -> bool + Send + 'static,
        events: Sender<Event>,
    ) {
        let sshd = self.clone();
        threads::spawn(move || {
            await_network(sshd.knock, WITHOUT_ANSWER);
            let greeted = loop {
                match greet(sshd.address, &accepted) {
                    Ok(greeted) => break greeted,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        await_network(sshd.knock, WITHOUT_ANSWER);
                    }
                    Err(_) => thread::sleep(RETRY),
                }
            };
            *sshd.lock() = Some(greeted);
            let _ = events.send(Event::Banner);
            thread::sleep(KEEP);
            let mut greeted = sshd.lock();
            if greeted.as_ref().is_some_and(|g| g.since.elapsed() >= KEEP) {
                *greeted = None;
            }
        });
    }

    /// Accepts sessions at `socket` (mode 0600) for as long as the supervisor lives.
    pub(super) fn serve(&self, socket: &Path) -> io::Result<()> {
        if_exists(std::fs::remove_file(socket))?;
        let listener = UnixListener::bind(socket)?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        let sshd = self.clone();
        threads::spawn(move || {
            for client in listener.incoming().flatten() {
                let sshd = sshd.clone();
                threads::spawn(move || {
                    // The client sees the end of the connection; there is nobody else to tell.
                    let _ = sshd.carry(&client);
                });
            }
        });
        Ok(())
    }

    fn carry(&self, client: &UnixStream) -> io::Result<()> {
        let kept = self.lock().take();
        let (guest, banner) = match kept {
            Some(greeted) => (greeted.stream, greeted.banner),
            None => (TcpStream::connect(self.address)?, Vec::new()),
        };
        guest.set_read_timeout(None)?;
        guest.set_nodelay(true)?;
        io::Write::write_all(&mut &*client, &banner)?;

        let (from_client, to_guest) = (client.try_clone()?, guest.try_clone()?);
        threads::spawn(move || {
            let _ = io::copy(&mut &from_client, &mut &to_guest);
            let _ = to_guest.shutdown(Shutdown::Write);
        });
        let copied = io::copy(&mut &guest, &mut &*client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = guest.shutdown(Shutdown::Both);
        copied.map(drop)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Greeted>> {
        self.greeted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Knocks until the guest refuses, but not longer than `limit`.
fn await_network(knock: SocketAddr, limit: Duration) {
    let deadline = Instant::now() + limit;
    let mut knocks = Knocks::at(knock);
    while Instant::now() < deadline && !knocks.answered() {}
}

/// Connects and reads the identification string (RFC 4253, section 4.2): a line that starts with
/// `SSH-`, at most 255 bytes.
fn greet(address: SocketAddr, accepted: &impl Fn() -> bool) -> io::Result<Greeted> {
    let mut stream = TcpStream::connect_timeout(&address, SILENCE)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut banner = Vec::with_capacity(256);
    let mut byte = [0];
    let mut patient = false;
    while banner.len() < 255 {
        match stream.read(&mut byte) {
            // slirp closes when the guest refuses.
            Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
            Ok(_) => banner.push(byte[0]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && !patient && accepted() => {
                patient = true;
                stream.set_read_timeout(Some(PATIENCE))?;
            }
            Err(e) => return Err(e),
        }
        if byte[0] == b'\n' {
            break;
        }
    }
    if banner.starts_with(b"SSH-") {
        Ok(Greeted {
            stream,
            banner,
            since: Instant::now(),
        })
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Ports of the container's loopback that QEMU forwards into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    /// Port that leads to sshd.
    pub(super) ssh: u16,
    /// Port of the guest on which sshd listens.
    pub(super) sshd: u16,
    /// Port that leads to a port on which nothing listens.
    pub(super) knock: u16,
}

impl Ports {
    /// The usual ports, so that QEMU's argument list stays the same from run to run.
    pub(super) const USUAL: Self = Self {
        ssh: 2222,
        sshd: SSH_PORT,
        knock: 2223,
    };

    /// Returns free ports that lead to that of `sshd` in the guest: the usual ones, unless they are
    /// `published` or the network is shared with somebody who has them.
    pub(super) fn free(sshd: u16, published: &[GuestPort]) -> io::Result<Self> {
        let bind = |usual| -> io::Result<TcpListener> {
            let is_published = |port| published.iter().any(|other| other.container == port);
            if !is_published(usual)
                && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, usual))
            {
                return Ok(listener);
            }
            // Unfit ports stay taken until a fit one is found: the kernel would give the same one
            // again.
            let mut unfit = Vec::new();
            loop {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                if !is_published(listener.local_addr()?.port()) {
                    return Ok(listener);
                }
                unfit.push(listener);
            }
        };
        let (ssh, knock) = (bind(Self::USUAL.ssh)?, bind(Self::USUAL.knock)?);
        Ok(Self {
            ssh: ssh.local_addr()?.port(),
            sshd,
            knock: knock.local_addr()?.port(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcvk_contract::spec::Protocol;
    use bcvk_contract::untrusted;
    use std::io::Write;
    use std::sync::mpsc::channel;

    #[test]
    fn a_published_port_is_left_to_its_guest() {
        let published = GuestPort {
            container: Ports::USUAL.ssh,
            guest: 22,
            protocol: Protocol::Tcp,
        };
        let ports = Ports::free(SSH_PORT, &[published]).expect("ports");
        assert_ne!(ports.ssh, Ports::USUAL.ssh);
        assert_ne!(ports.ssh, ports.knock);
    }

    #[test]
    fn the_first_session_takes_over_the_connection_that_was_greeted() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let port = listener.local_addr().expect("address").port();
        let guest = thread::spawn(move || {
            // slirp does the same for a guest that does not listen yet.
            drop(listener.accept().expect("accept"));
            let (mut stream, _) = listener.accept().expect("accept");
            stream.write_all(b"SSH-2.0-test\r\n").expect("banner");
            let mut said = [0; 5];
            stream.read_exact(&mut said).expect("hello");
            stream.write_all(&said).expect("echo");
        });

        let dir = tempfile::tempdir().expect("temporary directory");
        let socket = dir.path().join("ssh.sock");
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let knock = closed.local_addr().expect("address").port();
        thread::spawn(move || drop(closed.accept()));
        let sshd = Sshd::new(Ports {
            ssh: port,
            sshd: SSH_PORT,
            knock,
        });
        let (sender, events) = channel();
        sshd.await_banner(|| false, sender);
        assert!(matches!(events.recv().expect("event"), Event::Banner));
        sshd.serve(&socket).expect("serve");
        let mode = std::fs::metadata(&socket).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "only its owner may connect");

        let mut client = untrusted::connect_to(&socket).expect("connect");
        client.write_all(b"hello").expect("write");
        let mut heard = String::new();
        client.read_to_string(&mut heard).expect("read");
        assert_eq!(heard, "SSH-2.0-test\r\nhello");
        guest.join().expect("one connection served both");
    }
}
