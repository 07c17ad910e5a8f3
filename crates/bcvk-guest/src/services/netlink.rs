//! Configuration of a network interface by the kernel's own interface (rtnetlink(7)): an image need not
//! have the `ip` command.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// Types of messages (Linux, include/uapi/linux/rtnetlink.h).
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;

/// Type of an answer, which begins with an error number or zero (Linux, include/uapi/linux/netlink.h).
const NLMSG_ERROR: u16 = 2;

/// Flags of a request: it wants an answer.
const ASKS: u16 = 0x1 | 0x4;

/// Flags of one that makes something, or replaces it. A link itself cannot be replaced.
const MAKES: u16 = ASKS | 0x100 | 0x400;

/// Attributes of an address and of a route.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

/// Address family of IPv4.
const AF_INET: u8 = 2;

/// Flag of an interface that is up.
const IFF_UP: u32 = 1;

/// Length of a message's header.
const HEADER: usize = 16;

/// A connection to the kernel's part that configures networks.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok(Self(socket))
    }

    /// Sets the interface of this index up.
    pub(super) fn set_up(&self, index: u32) -> io::Result<()> {
        self.ask(RTM_NEWLINK, ASKS, &link_up(index))
    }

    /// Gives the interface an address, with the length of its prefix.
    pub(super) fn set_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        self.ask(RTM_NEWADDR, MAKES, &address_of(index, address, prefix))
    }

    /// Makes a gateway that the interface leads to the default route.
    pub(super) fn set_gateway(&self, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
        self.ask(RTM_NEWROUTE, MAKES, &default_route(index, gateway))
    }

    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        let message = message(kind, flags, body);
        sendto(&self.0, &message, SendFlags::empty(), &kernel)?;
        let mut answer = [0_u8; 4096];
        let (length, _) = recv(&self.0, &mut answer, RecvFlags::empty())?;
        answered(answer.get(..length).unwrap_or_default())
    }
}

/// Returns a message with its header.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).expect("a short message");
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Its number, and the sender's, which the kernel knows.
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// Reads the kernel's answer to a request.
fn answered(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
    let code = answer
        .get(HEADER..HEADER + 4)
        .and_then(|bytes| bytes.try_into().ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(Errno::from_raw_os_error(-code).into()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Returns a `struct ifinfomsg`.
fn link_up(index: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(index.to_ne_bytes());
    // The flags, and those that are to change.
    bytes.extend(IFF_UP.to_ne_bytes());
    bytes.extend(IFF_UP.to_ne_bytes());
    bytes
}

/// Returns a `struct ifaddrmsg` with its attributes.
fn address_of(index: u32, address: Ipv4Addr, prefix: u8) -> Vec<u8> {
    let mut bytes = vec![AF_INET, prefix, 0, 0];
    bytes.extend(index.to_ne_bytes());
    let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    let broadcast = address | Ipv4Addr::from(host);
    for (kind, value) in [
        (IFA_LOCAL, address),
        (IFA_ADDRESS, address),
        (IFA_BROADCAST, broadcast),
    ] {
        attribute(&mut bytes, kind, value.octets());
    }
    bytes
}

/// Returns a `struct rtmsg` with its attributes.
fn default_route(index: u32, gateway: Ipv4Addr) -> Vec<u8> {
    /// The table of routes that are used unless a rule says otherwise.
    const MAIN: u8 = 254;
    /// The origin of a route that was made while the system started.
    const BOOT: u8 = 3;
    const UNICAST: u8 = 1;
    let mut bytes = vec![AF_INET, 0, 0, 0, MAIN, BOOT, 0, UNICAST];
    bytes.extend([0; 4]);
    attribute(&mut bytes, RTA_GATEWAY, gateway.octets());
    attribute(&mut bytes, RTA_OIF, index.to_ne_bytes());
    bytes
}

/// Adds an attribute of four bytes, which needs no padding.
fn attribute(bytes: &mut Vec<u8>, kind: u16, value: [u8; 4]) {
    bytes.extend(8_u16.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that `strace ip address replace 10.0.2.15/24 broadcast + dev eth0` shows.
    #[test]
    #[cfg(target_endian = "little")]
    fn an_address_is_as_iproute2_sends_it() {
        let body = address_of(3, Ipv4Addr::new(10, 0, 2, 15), 24);
        let sent = message(RTM_NEWADDR, MAKES, &body);
        let header = [48, 0, 0, 0, 20, 0, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(sent[..16], header);
        assert_eq!(sent[16..24], [2, 24, 0, 0, 3, 0, 0, 0]);
        assert_eq!(sent[24..32], [8, 0, 2, 0, 10, 0, 2, 15]);
        assert_eq!(sent[40..48], [8, 0, 4, 0, 10, 0, 2, 255]);
    }

    #[test]
    fn the_kernel_answers() {
        let netlink = Netlink::open().expect("a socket");
        // Whoever may not configure interfaces is told so first.
        let answered = |result: io::Result<()>| match result.map_err(|e| e.raw_os_error()) {
            Err(code) if code == Some(Errno::PERM.raw_os_error()) => None,
            result => Some(result),
        };
        // The loopback interface is up.
        let up = answered(netlink.set_up(1));
        assert!(matches!(up, None | Some(Ok(()))), "{up:?}");
        let absent = answered(netlink.set_up(u32::MAX >> 1));
        let nodev = Some(Errno::NODEV.raw_os_error());
        assert!(absent.is_none_or(|it| it == Err(nodev)));
    }

    #[test]
    fn an_answer_of_another_kind_is_an_error() {
        for answer in [&[][..], &[0; 15], &[0; 40]] {
            let error = answered(answer).expect_err("no answer");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
