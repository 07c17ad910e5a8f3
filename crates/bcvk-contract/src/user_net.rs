//! Addresses of QEMU's user network, which are the same in every VM (QEMU's documentation, "Using the user
//! mode network stack").

use std::net::Ipv4Addr;

/// Address of the guest.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// Length of its prefix.
pub const PREFIX: u8 = 24;

/// Address of the gateway, from which connections to published ports and to sshd come.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Address of the name server.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
