//! Requirements of Kubernetes for VMs in its Pods.

use super::{GuestPort, PortForward, SpecError, VmName};

/// First port that QEMU may have: those below are for processes with rights, and QEMU has none.
const FIRST_PORT: u16 = 1024;

/// Length of the longest name of a Pod that can be its host name (RFC 1123).
const MAX_NAME: usize = 63;

/// Checks that a Pod can be named so: a DNS label.
///
/// # Errors
/// [`SpecError::PodName`].
pub fn check_pod_name(name: &VmName) -> Result<(), SpecError> {
    let text = name.as_str();
    let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte != b'-');
    let well = text.len() <= MAX_NAME
        && text.bytes().all(label)
        && ends(text.bytes().next())
        && ends(text.bytes().last());
    if well {
        Ok(())
    } else {
        Err(SpecError::PodName {
            value: text.to_owned(),
        })
    }
}

/// Names the volume that has the VM's directory, a DNS label too, for a Pod with a checked name. It
/// has the Pod's name in it, because podman 4.3 gives Pods with volumes of one name one volume.
#[must_use]
pub fn pod_volume(pod: &VmName) -> String {
    let mut name = format!("vm-{pod}");
    name.truncate(MAX_NAME);
    name.truncate(name.trim_end_matches('-').len());
    name
}

/// Returns ports of a Pod that lead into its VM. The Pod has an address of its own, so none has to
/// be chosen for it.
///
/// # Errors
/// [`SpecError::PodPort`] for an address, a port that QEMU could not have, or one that is given
/// twice.
pub fn pod_ports(forwards: &[PortForward]) -> Result<Vec<GuestPort>, SpecError> {
    let mut ports: Vec<GuestPort> = Vec::new();
    for forward in forwards {
        let port = GuestPort {
            container: forward.host_port,
            guest: forward.guest_port,
            protocol: forward.protocol,
        };
        let taken = |other: &GuestPort| {
            other.container == port.container && other.protocol == port.protocol
        };
        if forward.host_ip.is_some() || port.container < FIRST_PORT || ports.iter().any(taken) {
            return Err(SpecError::PodPort {
                value: forward.to_string(),
            });
        }
        ports.push(port);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_name_is_a_dns_label() {
        let longest = "a".repeat(MAX_NAME);
        for (name, well) in [
            ("vm", true),
            ("7", true),
            ("bcvk-0a1b", true),
            (&longest, true),
            (&format!("{longest}a"), false),
            ("Vm", false),
            ("a.b", false),
            ("a_b", false),
            ("a-", false),
        ] {
            let name: VmName = name.parse().expect("a name for podman");
            assert_eq!(check_pod_name(&name).is_ok(), well, "{name}");
        }
    }

    #[test]
    fn each_pod_has_a_volume_of_its_own() {
        let volume = |pod: &str| pod_volume(&pod.parse().expect("a name"));
        assert_eq!(volume("web"), "vm-web");
        assert_ne!(volume("image"), "image");
        let long = format!("{}-{}", "a".repeat(59), "b".repeat(3));
        assert_eq!(volume(&long), format!("vm-{}", "a".repeat(59)));
    }

    #[test]
    fn a_pods_ports_are_its_own() {
        let ports = |words: &[&str]| {
            let forwards: Vec<PortForward> = words
                .iter()
                .map(|word| word.parse().expect("a port"))
                .collect();
            pod_ports(&forwards)
        };
        let found = ports(&["8080:80", "8080:53/udp"]).expect("ports");
        assert_eq!((found[0].container, found[0].guest), (8080, 80));
        for refused in [
            &["127.0.0.1:8080:80"][..],
            &["80:80"],
            &["80"],
            &["8080:80", "8080:81"],
        ] {
            assert!(ports(refused).is_err(), "{refused:?}");
        }
    }
}
