//! The guest's network card, and units that wait for it.

use bcvk_contract::spec::{Expose, VmSpec};
use bcvk_contract::user_net::UserNet;

use super::tree::Tree;
use crate::facts::{GuestFacts, Network};

/// Configures the network card by DHCP, with what the image has for it or with bcvk's own service.
pub(super) fn add_network(tree: &mut Tree, spec: &VmSpec, facts: &GuestFacts) {
    if facts.networkd_installed {
        // This name sorts after any file of the image's, and the first match wins (systemd.network(5)).
        tree.run_file(
            "systemd/network/zz-bcvk.network",
            &addressed(include_str!("../units/bcvk.network"), spec),
        );
    }
    if facts.network == Network::NetworkManager {
        // This is for images whose NetworkManager leaves alone what it has no profile for; any
        // other profile comes before this one. NetworkManager takes no profile that others could
        // read.
        tree.run_secret(
            "NetworkManager/system-connections/bcvk.nmconnection",
            include_str!("../units/bcvk.nmconnection"),
        );
    }
    if spec.domain.is_some() {
        // networkd takes no domain from DHCP unless it is told to (systemd.network(5), UseDomains=).
        tree.run_file(
            "systemd/resolved.conf.d/bcvk-domain.conf",
            &addressed("[Resolve]\nDomains=@DOMAIN@\n", spec),
        );
    }
    if facts.network != Network::None {
        return;
    }
    if facts.networkd_installed {
        tree.run_wants_image("multi-user.target", "systemd-networkd.service");
    } else {
        tree.run_file(
            "systemd/resolved.conf.d/bcvk.conf",
            &addressed("[Resolve]\nDNS=@DNS@\n", spec),
        );
        tree.run_service(
            "bcvk-network.service",
            &addressed(include_str!("../units/bcvk-network.service"), spec),
        );
        tree.run_wants("multi-user.target", "bcvk-network.service");
    }
}

/// Tells the host what listens, for VMs in which no program for sessions does.
pub(super) fn add_listening(tree: &mut Tree, expose: Expose) {
    match expose {
        Expose::All => {
            tree.run_service(
                "bcvk-listening.service",
                include_str!("../units/bcvk-listening.service"),
            );
            tree.run_wants("multi-user.target", "bcvk-listening.service");
        }
        Expose::None => {}
    }
}

/// Fills in the guest's network, and addresses in it.
fn addressed(template: &str, spec: &VmSpec) -> String {
    let net = spec.network;
    template
        .replace("@DOMAIN@", spec.domain.as_deref().unwrap_or_default())
        .replace("@NETWORK@", &net.to_string())
        .replace("@GUEST@", &format!("{}/{}", net.guest(), UserNet::PREFIX))
        .replace("@GATEWAY@", &net.gateway().to_string())
        .replace("@DNS@", &net.dns().to_string())
}

/// Makes the system wait for the network. Commands expect one, but `network-online.target` waits
/// for it only if the image has enabled what waits, and a system that starts quickly is up before
/// its network card.
pub(super) fn add_wait_for_network(tree: &mut Tree, facts: &GuestFacts) {
    let unit = match facts.network {
        Network::NetworkManager => "NetworkManager-wait-online.service",
        Network::Networkd => "systemd-networkd-wait-online.service",
        Network::None if facts.networkd_installed => "systemd-networkd-wait-online.service",
        // bcvk's own service and ifupdown's are done once they have run.
        Network::None | Network::Ifupdown | Network::Other(_) => return,
    };
    tree.run_wants_image("network-online.target", unit);
}
