//! `bcvk ephemeral port`.

use std::process::ExitCode;

use bcvk_contract::spec::VmSpec;
use bcvk_host::podman::Container;

use super::{Context, find};
use crate::cli::{GuestPortRef, Port};
use crate::error::{CommandError, RequestError};

/// A port of the guest, and the host's port that leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublishedTo {
    guest: GuestPortRef,
    /// Address and port of the host.
    host: String,
}

impl PublishedTo {
    /// Writes it as podman's list of containers has it.
    pub(super) fn as_podman(&self) -> String {
        format!("{}->{}", self.host, self.guest)
    }
}

pub(super) fn port(args: &Port) -> Result<ExitCode, CommandError> {
    let name = &args.vm.name;
    let found = find::any(name)?;
    let context = Context::open()?;
    let vm = found.dir.container_id().map(|id| context.podman.find(&id));
    let vm = vm.transpose()?.flatten();
    let vm = vm.ok_or_else(|| RequestError::NoSuchVm { name: name.clone() })?;
    let all = published(&vm, &found.spec);
    let lines = all.iter().filter_map(|to| match args.port {
        None => Some(format!("{} -> {}\n", to.guest, to.host)),
        Some(port) => (port == to.guest).then(|| format!("{}\n", to.host)),
    });
    let text: String = lines.collect();
    if let Some(port) = args.port.filter(|_| text.is_empty()) {
        return Err(RequestError::NotPublished {
            name: name.clone(),
            port: port.to_string(),
        }
        .into());
    }
    crate::ui::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// Returns the ports of a VM that lead in. podman knows which of the host's lead into the container, and
/// the spec which of the container's lead to the guest.
pub(super) fn published(vm: &Container, spec: &VmSpec) -> Vec<PublishedTo> {
    let ports = vm.ports.iter().flatten();
    let reached = ports.flat_map(|published| {
        spec.ports.iter().filter_map(|port| {
            let protocol = port.protocol.name() == published.protocol;
            let host = published
                .host_port_for(port.container)
                .filter(|_| protocol)?;
            let address = match published.address() {
                address if address.contains(':') => format!("[{address}]"),
                address => address.to_owned(),
            };
            Some(PublishedTo {
                guest: GuestPortRef {
                    port: port.guest,
                    protocol: port.protocol,
                },
                host: format!("{address}:{host}"),
            })
        })
    });
    reached.collect()
}

#[cfg(test)]
mod tests {
    use bcvk_contract::examples;
    use bcvk_contract::spec::{GuestPort, Protocol};

    use super::*;

    #[test]
    fn ports_of_the_container_are_the_guests() {
        let port = |container, guest, protocol| GuestPort {
            container,
            guest,
            protocol,
        };
        let spec = VmSpec {
            ports: vec![
                port(20_000, 80, Protocol::Tcp),
                port(20_001, 443, Protocol::Tcp),
                port(20_002, 53, Protocol::Udp),
            ],
            ..examples::example()
        };
        let json = r#"{"Id":"c0ffee","Ports":[
            {"host_ip":"","container_port":20000,"host_port":8080,"range":2,"protocol":"tcp"},
            {"host_ip":"::1","container_port":20002,"host_port":5353,"range":1,"protocol":"udp"}]}"#;
        let vm: Container = serde_json::from_str(json).expect("a container");
        let all: Vec<String> = published(&vm, &spec)
            .iter()
            .map(PublishedTo::as_podman)
            .collect();
        let expected = [
            "0.0.0.0:8080->80/tcp",
            "0.0.0.0:8081->443/tcp",
            "[::1]:5353->53/udp",
        ];
        assert_eq!(all, expected);
    }
}
