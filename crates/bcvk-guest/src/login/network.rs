//! The guest's network, for sessions that expect one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Time for a network to get its address that was not there when the first session came: an emulated guest
/// takes up to half of it. The system
/// is up to `network.target` then, so DHCP runs; whatever takes longer may not come at all.
const LIMIT: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(20);

/// Waits until the network has an address, or for [`LIMIT`].
pub(super) async fn settle(proc: &Path) {
    let there = async {
        while !is_there(proc) {
            sleep(PAUSE).await;
        }
    };
    let _ = timeout(LIMIT, there).await;
}

fn is_there(proc: &Path) -> bool {
    let read = |name: &str| fs::read_to_string(proc.join("net").join(name)).unwrap_or_default();
    leads_out(&read("route")) || has_global_address(&read("if_inet6"))
}

/// Returns true if one of these IPv4 routes leads anywhere but to the host itself. The first line is
/// that of the columns' names, and the first column the interface (proc_net(5)).
fn leads_out(routes: &str) -> bool {
    let interfaces = routes
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    interfaces.into_iter().any(|interface| interface != "lo")
}

/// Returns true if one of these IPv6 addresses is global. The fourth column is the scope, and the last
/// one the interface (proc_net(5)).
fn has_global_address(addresses: &str) -> bool {
    addresses.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.get(3) == Some(&"00") && columns.last() != Some(&"lo")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_there_when_it_has_an_address() {
        let names = "Iface\tDestination\tGateway \tFlags\n";
        assert!(!leads_out("") && !leads_out(names));
        assert!(!leads_out(&format!(
            "{names}lo\t0000007F\t00000000\t0001\n"
        )));
        assert!(leads_out(&format!(
            "{names}eth0\t0002000A\t00000000\t0001\n"
        )));
        let lo = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let link = "fe80000000000000505400fffe123456 02 40 20 80     eth0\n";
        let global = "fec0000000000000505400fffe123456 02 40 00 00     eth0\n";
        assert!(!has_global_address(&format!("{lo}{link}")));
        assert!(has_global_address(&format!("{lo}{link}{global}")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_does_not_come_is_not_waited_for_for_ever() {
        let nothing = tempfile::tempdir().expect("a directory");
        let begun = tokio::time::Instant::now();
        settle(nothing.path()).await;
        assert_eq!(begun.elapsed().as_secs(), LIMIT.as_secs());
    }
}
