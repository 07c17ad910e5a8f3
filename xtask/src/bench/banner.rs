//! Waiting for the first SSH banner, with the care that bcvk's supervisor takes.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::interrupt;
use crate::process::Running;

/// Pause after a refused attempt.
const RETRY: Duration = Duration::from_millis(30);

/// slirp holds a connection for a guest without network this long; after that a new one is faster
/// than TCP's retransmission.
const SILENCE_BEFORE_NETWORK: Duration = Duration::from_millis(900);

/// Once the guest has refused a connection its network is up, and silence means that sshd works on
/// its banner: cutting it off would make it start again.
const SILENCE_AFTER_NETWORK: Duration = Duration::from_secs(10);

/// How often a silent connection looks whether it should give up.
const LOOK_UP: Duration = Duration::from_millis(200);

/// A port of the loopback that is free now.
pub(super) fn free_port() -> Result<u16> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
    Ok(port.map_err(Error::io("find a free port"))?.port())
}

/// Returns when sshd behind `port` has sent its identification string.
pub(super) fn wait(port: u16, qemu: &mut Running, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let mut silence = SILENCE_BEFORE_NETWORK;
    while Instant::now() < deadline {
        interrupt::check()?;
        qemu.check_alive()?;
        match greet((Ipv4Addr::LOCALHOST, port).into(), silence) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {
                silence = SILENCE_AFTER_NETWORK;
            }
            Err(_) => {}
        }
        thread::sleep(RETRY);
    }
    Err(Error::other(format!(
        "the VM started by hand did not answer within {} s",
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
            // slirp accepts first and closes when the guest refuses.
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

    #[test]
    fn refused_connections_are_tried_again_and_silent_ones_are_kept() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let port = listener.local_addr().expect("address").port();
        let guest = thread::spawn(move || {
            drop(listener.accept().expect("accept"));
            let (mut stream, _) = listener.accept().expect("accept");
            thread::sleep(SILENCE_BEFORE_NETWORK + LOOK_UP);
            stream.write_all(b"SSH-2.0-test\r\n").expect("banner");
        });
        let mut qemu = Running::start(Command::new("sleep").arg("60")).expect("start");
        wait(port, &mut qemu, Duration::from_secs(10)).expect("banner");
        guest.join().expect("two connections were enough");
    }

    #[test]
    fn a_dead_qemu_is_not_waited_for() {
        let mut qemu = Running::start(&mut Command::new("false")).expect("start");
        qemu.wait(Duration::from_secs(5)).expect("ends");
        let error = wait(1, &mut qemu, Duration::from_secs(60)).expect_err("dead");
        assert!(error.to_string().contains("false ended"), "{error}");
    }
}
