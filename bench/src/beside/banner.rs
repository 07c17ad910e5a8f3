//! Waiting for the first SSH banner without getting in sshd's way.
//!
//! QEMU's user network accepts a forwarded connection at once and goes on opening it towards the
//! guest for 75 s, also after its client has left. Whatever was tried before the guest had a
//! network arrives at its sshd in one burst, which counts (`MaxStartups`, `PerSourcePenalties`) and
//! may be answered by refusing everybody for half a minute. So the network is waited for on a port
//! that nobody listens on, where a refusal costs the guest nothing.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bcvk_supervisor::Knocks;
use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::interrupt;
use bcvk_testkit::drive::process::Running;

/// The guest's port that nobody listens on: tcpmux, which no system has had for decades.
pub(super) const NOBODY: u16 = 1;

/// Pause after a refused attempt.
const RETRY: Duration = Duration::from_millis(30);

/// The user network keeps a packet for a second while it asks for the guest's address. An older
/// connection gets through only when TCP repeats itself.
const FRESH: Duration = Duration::from_millis(900);

/// Number of attempts at [`NOBODY`] for one at sshd, for guests whose firewall lets nobody's port
/// be silent.
const NOBODY_PER_SSHD: u32 = 100;

/// Limit for an sshd that has accepted to work on its banner. Cut off, it would have to start again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Interval at which a silent connection looks whether it should give up.
const LOOK_UP: Duration = Duration::from_millis(200);

/// Ports of the loopback that lead into the guest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) sshd: u16,
    /// Port of the loopback that leads to [`NOBODY`].
    pub(super) nobody: u16,
}

impl Ports {
    /// Returns two ports that are free now.
    pub(super) fn free() -> Result<Self> {
        let action = || Error::io("find a free port");
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let (sshd, nobody) = (bind().map_err(action())?, bind().map_err(action())?);
        Ok(Self {
            sshd: sshd.local_addr().map_err(action())?.port(),
            nobody: nobody.local_addr().map_err(action())?.port(),
        })
    }
}

/// Returns when sshd has sent its identification string.
pub(super) fn wait(ports: Ports, qemu: &mut Running, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let mut network = false;
    let mut attempts = 0;
    let mut knocks = Knocks::at((Ipv4Addr::LOCALHOST, ports.nobody).into());
    while Instant::now() < deadline {
        interrupt::check()?;
        qemu.check_alive()?;
        attempts += 1;
        if !network && attempts % NOBODY_PER_SSHD != 0 {
            network = knocks.answered();
            continue;
        }
        let patience = if network { PATIENCE } else { FRESH };
        match greet((Ipv4Addr::LOCALHOST, ports.sshd).into(), patience) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => network = true,
            Err(_) => {}
        }
        thread::sleep(RETRY);
    }
    Err(Error::other(format!(
        "the VM made by hand did not answer within {} s",
        limit.as_secs()
    )))
}

/// Reads one line that starts with `SSH-` (RFC 4253, section 4.2).
fn greet(address: SocketAddr, silence: Duration) -> io::Result<()> {
    let until = Instant::now() + silence;
    let mut stream = TcpStream::connect_timeout(&address, silence)?;
    stream.set_read_timeout(Some(LOOK_UP))?;
    let mut banner = Vec::with_capacity(256);
    let mut byte = [0];
    while banner.len() < 255 {
        match stream.read(&mut byte) {
            // slirp accepts first, and closes the connection when the guest refuses it.
            Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
            Ok(_) => banner.push(byte[0]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= until || interrupt::check().is_err() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(e) => return Err(e),
        }
        if byte[0] == b'\n' {
            break;
        }
    }
    if banner.starts_with(b"SSH-") {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    /// Refuses a connection as the user network does for a guest that refuses.
    fn refuse(listener: &TcpListener) {
        drop(listener.accept().expect("accept"));
    }

    fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let port = listener.local_addr().expect("address").port();
        (listener, port)
    }

    fn sleeper() -> Running {
        Running::start(Command::new("sleep").arg("60")).expect("start")
    }

    #[test]
    fn sshd_is_left_alone_until_the_network_answers_and_then_given_time() {
        let ((sshd, sshd_port), (nobody, nobody_port)) = (listener(), listener());
        let guest = thread::spawn(move || {
            // One attempt stays silent, as with a guest without network, and one is refused.
            let silent = nobody.accept().expect("accept");
            refuse(&nobody);
            refuse(&sshd);
            let (mut stream, _) = sshd.accept().expect("accept");
            thread::sleep(FRESH + LOOK_UP);
            stream.write_all(b"SSH-2.0-test\r\n").expect("banner");
            drop(silent);
        });
        let ports = Ports {
            sshd: sshd_port,
            nobody: nobody_port,
        };
        wait(ports, &mut sleeper(), Duration::from_secs(10)).expect("banner");
        guest.join().expect("two connections to each were enough");
    }

    #[test]
    fn a_dead_qemu_is_not_waited_for() {
        let mut qemu = Running::start(&mut Command::new("false")).expect("start");
        qemu.wait(Duration::from_secs(5)).expect("ends");
        let ports = Ports::free().expect("ports");
        let error = wait(ports, &mut qemu, Duration::from_secs(60)).expect_err("dead");
        assert!(error.to_string().contains("false ended"), "{error}");
    }
}
