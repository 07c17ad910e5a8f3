//! Addresses of QEMU's user network, which are the same in every VM (QEMU's documentation, "Using the user
//! mode network stack").

/// Address of the guest, with the length of its prefix.
pub const GUEST: &str = "10.0.2.15/24";

/// Address of the gateway, from which connections to published ports and to sshd come.
pub const GATEWAY: &str = "10.0.2.2";

/// Address of the name server.
pub const DNS: &str = "10.0.2.3";
