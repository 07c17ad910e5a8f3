//! Containers as podman describes them.

use bcvk_contract::spec::LABEL_VM;
use serde::Deserialize;

use crate::vm::dir::{VmDir, VmDirs};

/// A container as `podman ps --format json` describes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// Full container ID.
    pub id: String,
    /// Names of the container; podman gives it one.
    #[serde(default)]
    pub names: Vec<String>,
    /// State of the container: `running`, `exited`, `created`, …
    #[serde(default)]
    pub state: String,
    /// Time at which the container was made, in podman's words.
    #[serde(default)]
    pub created_at: String,
    /// Unix time at which the container started.
    #[serde(default)]
    pub started_at: i64,
    /// Exit code, once the container has exited.
    #[serde(default)]
    pub exit_code: i32,
    /// Unix time at which the container ended, once it has.
    #[serde(default)]
    pub exited_at: i64,
    /// The image's name.
    #[serde(default)]
    pub image: String,
    /// Full ID of the image.
    #[serde(default, rename = "ImageID")]
    pub image_id: String,
    /// Ports of the host that lead into the container.
    #[serde(default)]
    pub ports: Option<Vec<PublishedPort>>,
    /// Command line of the container's first process.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Labels of the container.
    #[serde(default)]
    pub labels: Option<std::collections::BTreeMap<String, String>>,
}

/// Ports of the host that lead to ports of a container, one after the other.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PublishedPort {
    /// Address that the host listens on; every address if it is empty.
    pub host_ip: String,
    /// First port of the host.
    pub host_port: u16,
    /// First port of the container.
    pub container_port: u16,
    /// Number of ports, if podman says it.
    pub range: u16,
    /// Protocol, in podman's words.
    pub protocol: String,
}

impl PublishedPort {
    /// Returns the host's port that leads to `port` of the container.
    #[must_use]
    pub fn host_port_for(&self, port: u16) -> Option<u16> {
        let offset = port.checked_sub(self.container_port)?;
        (offset < self.range.max(1)).then(|| self.host_port.saturating_add(offset))
    }

    /// Returns the host's address, as podman shows it.
    #[must_use]
    pub fn address(&self) -> &str {
        match self.host_ip.as_str() {
            "" => "0.0.0.0",
            address => address,
        }
    }
}

impl Container {
    /// Returns the container's name, or its ID if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or(&self.id, String::as_str)
    }

    /// Returns the id of the container's VM directory.
    #[must_use]
    pub fn vm_id(&self) -> Option<&str> {
        self.labels.as_ref()?.get(LABEL_VM).map(String::as_str)
    }

    /// Returns the VM directory of this container, if it is a VM's that this user has started. The
    /// container's own labels are no proof, since its image may have brought them.
    #[must_use]
    pub fn vm_dir(&self, dirs: &VmDirs) -> Option<VmDir> {
        dirs.of(self.vm_id()?, &self.id)
    }

    /// Returns true if podman says that the container runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }
}

/// The part of `podman container inspect` that says how a container was made.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Created {
    pub(super) id: String,
    pub(super) config: CreatedConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreatedConfig {
    #[serde(default)]
    pub(super) create_command: Vec<String>,
}

/// Returns true if `words` are a command line of ours for the VM `id`. An image cannot set any of the
/// words.
pub(super) fn is_run_command(words: &[String], id: &str) -> bool {
    let cidfile = format!("/bcvk/vms/{id}/container-id");
    words
        .iter()
        .filter_map(|word| word.strip_prefix("--cidfile="))
        .any(|path| path.ends_with(&cidfile))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(json: &str) -> Container {
        serde_json::from_str(json).expect("a container")
    }

    #[test]
    fn a_container_has_a_name_and_a_state() {
        let named = container(r#"{"Id":"c0ffee","Names":["vm","other"],"State":"running"}"#);
        assert_eq!((named.name(), named.is_running()), ("vm", true));
        let bare = container(r#"{"Id":"c0ffee","State":"exited"}"#);
        assert_eq!((bare.name(), bare.is_running()), ("c0ffee", false));
    }

    /// podman joins neighbours to one entry.
    #[test]
    fn a_range_of_ports_has_each_of_them() {
        let json =
            r#"{"host_ip":"","container_port":20000,"host_port":8080,"range":2,"protocol":"tcp"}"#;
        let ports: PublishedPort = serde_json::from_str(json).expect("ports");
        for (port, expected) in [
            (19_999, None),
            (20_000, Some(8080)),
            (20_001, Some(8081)),
            (20_002, None),
        ] {
            assert_eq!(ports.host_port_for(port), expected, "{port}");
        }
        assert_eq!(ports.address(), "0.0.0.0");
    }

    /// The label is the image's to give, too.
    #[test]
    fn only_a_label_with_a_directory_of_ours_makes_a_vm() {
        let runtime = tempfile::tempdir().expect("a directory");
        let dirs = VmDirs::open(Some(runtime.path())).expect("made");
        let (dir, _lock) = dirs.create().expect("made");
        std::fs::write(dir.container_id_file(), "c0ffee").expect("written");
        let labelled = |container_id: &str, id: &str| {
            container(&format!(
                r#"{{"Id":"{container_id}","Labels":{{"{LABEL_VM}":"{id}"}}}}"#
            ))
        };
        let ours = labelled("c0ffee", dir.id());
        assert_eq!(ours.vm_id(), Some(dir.id()));
        let found = ours.vm_dir(&dirs).expect("found");
        assert_eq!(found.path(), dir.path());
        assert!(labelled("decaf", dir.id()).vm_dir(&dirs).is_none());
        assert!(labelled("c0ffee", "0123").vm_dir(&dirs).is_none());
        let unlabelled = container(r#"{"Id":"c0ffee"}"#);
        assert!(unlabelled.vm_id().is_none() && unlabelled.vm_dir(&dirs).is_none());
    }
}
