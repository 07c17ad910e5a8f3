//! Links that get no carrier in a VM, for which an image's boot would wait.

use std::io;

use super::network::Network;
use super::units::Units;
use super::{key_file, names, text};
use crate::rooted::Rooted;

/// Directories of NetworkManager's profiles (NetworkManager(8), nm-settings-keyfile(5)).
const PROFILES: [&str; 2] = [
    "/etc/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/system-connections",
];

/// Directories of networkd's files (systemd.network(5)).
const NETWORKS: [&str; 3] = [
    "/etc/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
];

/// Kinds of links that are made of other links, or that a VM has no device for, as NetworkManager
/// (nm-settings-nmcli(5)) and networkd (systemd.netdev(5)) name them.
const WITHOUT_CARRIER: [&str; 13] = [
    "802-11-wireless",
    "adsl",
    "bluetooth",
    "bond",
    "bridge",
    "cdma",
    "gsm",
    "infiniband",
    "macvlan",
    "pppoe",
    "team",
    "vlan",
    "wifi",
];

/// Returns the links, each with its kind, that the service of the image's `network` would wait for.
pub(super) fn awaited(root: &Rooted, units: &Units, network: &Network) -> io::Result<Vec<String>> {
    let waits = |unit| units.runs_at_boot(root, unit);
    match network {
        Network::NetworkManager if waits("NetworkManager-wait-online.service")? => profiles(root),
        Network::Networkd if waits("systemd-networkd-wait-online.service")? => netdevs(root),
        _ => Ok(Vec::new()),
    }
}

/// Returns NetworkManager's profiles that become active by themselves, if they can.
fn profiles(root: &Rooted) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for dir in PROFILES {
        for name in names(root, dir)? {
            let profile = text(root, &format!("{dir}/{name}"))?;
            found.extend(profile_without_carrier(&name, &profile));
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the name and kind of a profile's link. Ports of another link are not waited for by
/// themselves.
fn profile_without_carrier(file: &str, profile: &str) -> Option<String> {
    let value = |key| key_file::value(profile, "connection", key);
    let is_port = ["master", "controller"]
        .iter()
        .any(|key| value(key).is_some());
    if is_port || matches!(value("autoconnect"), Some("false" | "0")) {
        return None;
    }
    let name = value("id").unwrap_or_else(|| file.trim_end_matches(".nmconnection"));
    described(name, value("type")?)
}

/// Returns the links that networkd makes, configures, and needs for the system to be online.
fn netdevs(root: &Rooted) -> io::Result<Vec<String>> {
    let mut made = Vec::new();
    let mut needed = Vec::new();
    for dir in NETWORKS {
        for file in names(root, dir)? {
            let read = || text(root, &format!("{dir}/{file}"));
            match file.rsplit_once('.') {
                Some((_, "netdev")) => made.push(read()?),
                Some((_, "network")) => needed.push(read()?),
                _ => {}
            }
        }
    }
    let is_needed = |name: &str| {
        needed.iter().any(|network| {
            let names = key_file::value(network, "Match", "Name").unwrap_or_default();
            let online = key_file::value(network, "Link", "RequiredForOnline");
            let optional = matches!(online, Some("no" | "false" | "off" | "0"));
            names.split_whitespace().any(|other| other == name) && !optional
        })
    };
    let mut found: Vec<String> = made
        .iter()
        .filter_map(|netdev| {
            let name = key_file::value(netdev, "NetDev", "Name").filter(|name| is_needed(name))?;
            described(name, key_file::value(netdev, "NetDev", "Kind")?)
        })
        .collect();
    found.sort();
    Ok(found)
}

fn described(name: &str, kind: &str) -> Option<String> {
    WITHOUT_CARRIER
        .contains(&kind)
        .then(|| format!("{name} ({kind})"))
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    const WANTS: &str = "etc/systemd/system/network-online.target.wants";

    fn links(network: &Network, files: &[String]) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        for file in files {
            tree::add(dir.path(), file).expect(file);
        }
        let root = Rooted::new(dir.path()).expect("the root");
        let units = Units::read(&root).expect("units");
        awaited(&root, &units, network).expect("read")
    }

    fn service(name: &str) -> [String; 2] {
        let unit = format!("usr/lib/systemd/system/{name}");
        [
            format!("{WANTS}/{name} -> /{unit}"),
            format!("{unit} = [Service]"),
        ]
    }

    #[test]
    fn profiles_that_cannot_become_active() {
        let profile = |name: &str, text: &str| {
            format!(
                "etc/NetworkManager/system-connections/{name}.nmconnection = [connection]\n{text}"
            )
        };
        let files = [
            profile("a", "id=uplink\ntype=bond\n[ipv4]\nmethod=auto"),
            profile("b", "type=wifi"),
            profile("c", "id=cable\ntype=ethernet"),
            profile("d", "id=later\ntype=bridge\nautoconnect=false"),
            profile("e", "id=port\ntype=vlan\ncontroller=uplink"),
            "usr/lib/NetworkManager/system-connections/x = [connection]\ntype=team\n".to_owned(),
        ];
        let network = Network::NetworkManager;
        assert!(links(&network, &files).is_empty(), "nothing waits");
        let files = [&files[..], &service("NetworkManager-wait-online.service")].concat();
        let expected = ["b (wifi)", "uplink (bond)", "x (team)"];
        assert_eq!(links(&network, &files), expected);
        assert!(links(&Network::Networkd, &files).is_empty());
    }

    #[test]
    fn links_that_networkd_makes() {
        let file = |name: &str, text: &str| format!("etc/systemd/network/{name} = {text}");
        let netdev = |name: &str, kind: &str| {
            let text = format!("[NetDev]\nName={name}\nKind={kind}\n");
            file(&format!("{name}.netdev"), &text)
        };
        let files = [
            netdev("br0", "bridge"),
            netdev("br1", "bridge"),
            netdev("br2", "bridge"),
            netdev("dummy0", "dummy"),
            file(
                "1.network",
                "[Match]\nName=dummy0 br0\n[Network]\nDHCP=yes\n",
            ),
            file(
                "2.network",
                "[Match]\nName=br1\n[Link]\nRequiredForOnline=no\n",
            ),
        ];
        let files = [&files[..], &service("systemd-networkd-wait-online.service")].concat();
        assert_eq!(links(&Network::Networkd, &files), ["br0 (bridge)"]);
    }
}
