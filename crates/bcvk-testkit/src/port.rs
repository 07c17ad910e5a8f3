//! Ports of the host.

use std::net::TcpListener;

/// A TCP port of the loopback address on which nothing listens now.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
