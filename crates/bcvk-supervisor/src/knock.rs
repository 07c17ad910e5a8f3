//! Test whether a guest's network answers, without getting in the way of its sshd.
//!
//! slirp goes on trying connections that were closed here, and delivers them all when the guest's
//! network comes up. sshd would have to deal with each (and since OpenSSH 9.8 would count each
//! against the address that all sessions come from), whereas a closed port costs the guest nothing.
//! slirp forgets connections that are reset. Otherwise it would have hundreds after a minute, and
//! poll them in each turn of QEMU's main loop.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;

/// Pause after a refused attempt.
pub(super) const RETRY: Duration = Duration::from_millis(30);

/// Longest time for which an attempt may stay silent, neither refused nor accepted by the guest.
/// slirp keeps a packet for one second while it waits for the guest's address; a connection that is
/// held open for longer only waits for TCP's retransmission.
pub(super) const SILENCE: Duration = Duration::from_millis(900);

/// Time between knocks. slirp asks for the guest's address once for each packet, and learns it from
/// the guest's DHCP a moment before the guest accepts packets for it. The knocks that were under way
/// are lost then, and the next one gets the answer.
const BETWEEN_KNOCKS: Duration = Duration::from_millis(100);

/// Most knocks that are under way at once, each for [`SILENCE`].
const KNOCKS: usize = 9;

/// Connection attempts to a port of a guest on which nobody listens.
#[derive(Debug)]
pub struct Knocks {
    address: SocketAddr,
    under_way: VecDeque<TcpStream>,
}

impl Knocks {
    /// Knocks at a port of the host's that QEMU forwards to a guest's port on which nobody listens.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            under_way: VecDeque::new(),
        }
    }

    /// Knocks once more, beside the knocks that are under way, and waits a tenth of a second for an
    /// answer to any of them: slirp ends the connection when the guest has refused it.
    pub fn answered(&mut self) -> bool {
        let Ok(stream) = TcpStream::connect_timeout(&self.address, SILENCE) else {
            // QEMU does not listen yet.
            thread::sleep(RETRY);
            return false;
        };
        // With this option, closing the connection resets it.
        let _ = set_socket_linger(&stream, Some(Duration::ZERO));
        self.under_way.push_back(stream);
        if self.under_way.len() > KNOCKS {
            self.under_way.pop_front();
        }
        let mut fds: Vec<PollFd<'_>> = self
            .under_way
            .iter()
            .map(|stream| PollFd::new(stream, PollFlags::IN))
            .collect();
        let limit = Timespec::try_from(BETWEEN_KNOCKS).ok();
        poll(&mut fds, limit.as_ref()).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn what_is_given_up_is_reset() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let mut knocks = Knocks::at(listener.local_addr().expect("address"));
        assert!(!knocks.answered());
        let (mut silent, _) = listener.accept().expect("accept");
        drop(knocks);
        let end = silent.read(&mut [0]).expect_err("no orderly end");
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    }
}
