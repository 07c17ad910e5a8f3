//! Ports of the host, and the servers behind them.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process;

use crate::limit;
use crate::wait::until_some;

/// First port that is reserved, and how many: outside of `net.ipv4.ip_local_port_range`, from which
/// the kernel gives ports to clients.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// A port of the loopback address, TCP and UDP, that no other test gets while this value lives.
#[derive(Debug)]
pub struct ReservedPort {
    number: u16,
    /// The name that stands for the port between tests: an abstract socket leaves no file.
    _claim: UnixListener,
}

impl ReservedPort {
    /// Reserves a port on which nothing listens.
    #[must_use]
    pub fn new() -> Self {
        let start = u16::try_from(process::id() % u32::from(COUNT)).unwrap_or_default();
        (0..COUNT)
            .map(|step| FIRST + (start + step) % COUNT)
            .find_map(Self::claim)
            .expect("a free port")
    }

    /// Returns the port's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    fn claim(number: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("bcvk-test-port-{number}"));
        let claim = UnixListener::bind_addr(&name.expect("a short name")).ok()?;
        let address = ("127.0.0.1", number);
        let free = TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok();
        free.then_some(Self {
            number,
            _claim: claim,
        })
    }
}

impl Default for ReservedPort {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ReservedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// Fails unless a guest's sshd answers. QEMU ends each connection at once until sshd has started, which may
/// be the last thing to start; sshd itself sees one connection, because it locks out who comes and goes.
#[track_caller]
pub fn expect_sshd(address: impl ToSocketAddrs) {
    let banner = until_some("sshd answers", limit::QUICK, || {
        let mut stream = TcpStream::connect(&address).expect("connect");
        stream
            .set_read_timeout(Some(limit::QUICK))
            .expect("set a time-out");
        let mut banner = [0; 8];
        match stream.read_exact(&mut banner) {
            Ok(()) => Some(banner),
            Err(e)
                if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&e.kind()) =>
            {
                None
            }
            Err(e) => panic!("read a banner: {e}"),
        }
    });
    assert_eq!(&banner, b"SSH-2.0-");
}
