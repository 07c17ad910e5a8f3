//! Program that configures an image's network.

use std::io;

use serde::{Deserialize, Serialize};

use super::units::Units;
use super::{any_exists, names};
use crate::rooted::Rooted;

/// Services, none of the usual, that configure the network, with the name they go by.
const OTHERS: [(&str, &str); 5] = [
    ("connman.service", "ConnMan"),
    ("wicked.service", "wicked"),
    ("dhcpcd.service", "dhcpcd"),
    ("iwd.service", "iwd"),
    ("network.service", "network scripts"),
];

/// Program that configures network devices when an image boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// NetworkManager; by default it configures every Ethernet device with DHCP.
    NetworkManager,
    /// systemd-networkd; it configures nothing without a `.network` file.
    Networkd,
    /// ifupdown (`/etc/network/interfaces`).
    Ifupdown,
    /// Something else, by its name.
    Other(String),
    /// Nothing.
    None,
}

/// Finds the first program that is enabled; NetworkManager comes before others because it takes
/// devices over.
pub(super) fn read(root: &Rooted, units: &Units) -> io::Result<Network> {
    for (unit, network) in [
        ("NetworkManager.service", Network::NetworkManager),
        ("systemd-networkd.service", Network::Networkd),
        ("networking.service", Network::Ifupdown),
    ] {
        if units.runs_at_boot(root, unit)? {
            return Ok(network);
        }
    }
    for (unit, name) in OTHERS {
        if units.runs_at_boot(root, unit)? {
            return Ok(Network::Other(name.to_owned()));
        }
    }
    // netplan's generator enables what it configures when the guest boots.
    let generator = "/usr/lib/systemd/system-generators/netplan";
    let files = names(root, "/etc/netplan")?;
    if files.iter().any(|f| f.strip_suffix(".yaml").is_some()) && any_exists(root, &[generator])? {
        return Ok(Network::Other("netplan".to_owned()));
    }
    Ok(Network::None)
}

pub(super) fn networkd_installed(root: &Rooted) -> io::Result<bool> {
    let programs = [
        "/usr/lib/systemd/systemd-networkd",
        "/lib/systemd/systemd-networkd",
    ];
    any_exists(root, &programs)
}
