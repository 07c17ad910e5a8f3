//! Ports of the host, and the servers behind them.

use std::io::Read;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};

use crate::limit;

/// Finds a TCP port of the loopback address on which nothing listens now.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Fails unless a guest's sshd answers at once. There is one connection, because sshd locks out
/// whom it sees come and go.
#[track_caller]
pub fn expect_sshd(address: impl ToSocketAddrs) {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream
        .set_read_timeout(Some(limit::QUICK))
        .expect("set a time-out");
    let mut banner = [0; 8];
    stream.read_exact(&mut banner).expect("read a banner");
    assert_eq!(&banner, b"SSH-2.0-");
}
