//! Networks of the host, which the guest's own must not hide.

#![allow(clippy::disallowed_methods, reason = "opens a file of the kernel's")]

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use bcvk_contract::user_net::{Subnet, UserNet};

use crate::podman::Podman;

/// Ranges with a shorter prefix are ways to everywhere: a default route, or the two halves that a VPN
/// puts in its place.
const SHORTEST: u8 = 8;

/// Chooses the network of a guest, of which no address is one that the host has a route for, or one of
/// podman's network `network`.
///
/// A host whose routes cannot be read is treated as one without.
#[must_use]
pub fn guest_network(podman: Option<(&Podman, &str)>) -> UserNet {
    let mut taken = routed(&fs::read_to_string("/proc/net/route").unwrap_or_default());
    if let Some((podman, network)) = podman {
        taken.extend(of_podman(podman, network));
    }
    UserNet::beside(&taken)
}

/// Returns the networks of a table of routes: its second column is the network, the eighth its mask, both in
/// hexadecimal digits of the order that the processor has them in (Linux, `fib_route_seq_show`).
fn routed(table: &str) -> Vec<Subnet> {
    let bits = |field: &&str| u32::from_str_radix(field, 16).map(u32::from_be).ok();
    let routes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let network = Ipv4Addr::from_bits(bits(fields.get(1)?)?);
        let length = bits(fields.get(7)?)?.leading_ones();
        Some(Subnet::new(network, u8::try_from(length).ok()?))
    });
    routes.filter(|net| net.length() >= SHORTEST).collect()
}

/// Returns the ranges of the podman network in `network`, the value of `--network`. Whatever is not one
/// has none: a mode such as `host` has no name of a network, and podman says itself what it does not know.
fn of_podman(podman: &Podman, network: &str) -> Vec<Subnet> {
    /// podman takes 0.1 s.
    const LIMIT: Duration = Duration::from_secs(10);
    let Some(name) = named(network) else {
        return Vec::new();
    };
    let format = "--format={{range .Subnets}}{{.Subnet}} {{end}}";
    let said = podman.output_within(["network", "inspect", format, "--", name], LIMIT);
    let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    let ranges = said.split_ascii_whitespace();
    ranges.filter_map(|range| range.parse().ok()).collect()
}

/// Returns true if a container with this value of `--network` has a network of its own with neighbours.
#[must_use]
pub fn has_neighbours(network: &str) -> bool {
    !["container", "host", "none", "ns"].contains(&mode(network))
}

/// Returns the domain in which podman's name server has the containers of the network, if `network`, the
/// value of `--network`, is one that has a name server (podman-network-create(1), `--disable-dns`).
#[must_use]
pub fn domain(network: &str) -> Option<&'static str> {
    named(network).map(|_| "dns.podman")
}

/// Returns the name of a podman network that `--network` asks for, without its options
/// (podman-run(1)).
fn named(network: &str) -> Option<&str> {
    const MODES: [&str; 8] = [
        "bridge",
        "container",
        "host",
        "none",
        "ns",
        "pasta",
        "private",
        "slirp4netns",
    ];
    let name = mode(network);
    (!name.is_empty() && !MODES.contains(&name)).then_some(name)
}

/// Returns a value of `--network` without its options.
fn mode(network: &str) -> &str {
    network.split_once(':').map_or(network, |(mode, _)| mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_but_those_to_everywhere_are_taken() {
        let table = "\
            Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            tun0\t00000080\t0202000A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n\
            tun0\t0000000A\t0202000A\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n\
            eth0\t0002000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
            broken\t0002\n\n";
        let found: Vec<_> = routed(table).iter().map(Subnet::to_string).collect();
        assert_eq!(found, ["10.0.0.0/8", "10.0.2.0/24"]);
        assert_eq!(routed(""), []);
    }

    #[test]
    fn a_mode_is_no_network() {
        for (given, expected) in [
            ("lan", Some("lan")),
            ("lan:ip=10.0.2.7", Some("lan")),
            ("slirp4netns:port_handler=slirp4netns", None),
            ("container:10.0.2.0", None),
            ("host", None),
            ("", None),
        ] {
            assert_eq!(named(given), expected, "{given}");
            assert_eq!(domain(given).is_some(), expected.is_some(), "{given}");
        }
    }

    #[test]
    fn only_a_network_of_its_own_has_neighbours() {
        for own in [
            "lan",
            "bridge",
            "private",
            "pasta:--mtu,1500",
            "slirp4netns",
        ] {
            assert!(has_neighbours(own), "{own}");
        }
        for other in ["host", "none", "container:web", "ns:/run/netns/web"] {
            assert!(!has_neighbours(other), "{other}");
        }
    }
}
