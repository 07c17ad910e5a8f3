//! Facts about an image that decide how it is booted.
//!
//! They are read from the image's tree before anything runs. Nothing here is configuration: it is
//! what is, and what follows from it is decided elsewhere.

mod api_mounts;
mod bound;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod key_file;
mod links;
mod network;
mod root;
mod sshd;
mod sshd_port;
#[cfg(any(test, fuzzing))]
mod tree;
mod units;
mod users;
mod var;
mod waiting;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(any(test, fuzzing))]
pub(crate) use bound::image_of;
pub use network::Network;
#[cfg(any(test, fuzzing))]
pub(crate) use root::{in_key_file as root_in_key_file, in_toml as root_in_toml};
pub use sshd::Sshd;
pub(crate) use sshd::{PROGRAMS as SSHD_PROGRAMS, SESSION_PROGRAMS as SSHD_SESSION_PROGRAMS};
pub use sshd_port::SSH_PORT;
pub(crate) use users::{User, find_user, is_executable, stand_in_shell};
pub use waiting::WantedUnit;
#[cfg(any(test, fuzzing))]
pub(crate) use waiting::parse as parse_unit;

use crate::early::{ApiMount, RootKind, VarLayout};
use crate::rooted::{Rooted, if_exists};
use units::Units;

/// Facts about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts are independent of each other, and most are either so or not"
)]
pub struct GuestFacts {
    /// True if systemd is there to be the guest's init.
    pub systemd: bool,
    /// The SSH server.
    pub sshd: Sshd,
    /// Port on which it is reached.
    pub sshd_port: u16,
    /// True if there is an SSH host key already; sshd does not start without one.
    pub has_ssh_host_keys: bool,
    /// True if the image's sshd locks out an address whose connections keep failing: OpenSSH 9.8,
    /// which brought `PerSourcePenalties`, also split off the program `sshd-session`.
    pub sshd_penalises: bool,
    /// Program that configures network devices when the image boots.
    pub network: Network,
    /// True if systemd-networkd is there, enabled or not.
    pub networkd_installed: bool,
    /// Part that the image has in the root of its system.
    pub root: RootKind,
    /// Layout of `/var`.
    pub var: VarLayout,
    /// Real path of root's home directory `/root`: bootc's is `/var/roothome`. It need not exist
    /// yet if it is in `/var` or `/etc`, which are writable in a guest. `None` if there is none,
    /// and none can be made.
    pub root_home: Option<PathBuf>,
    /// Root's login shell, if it is one that runs commands.
    pub root_shell: Option<PathBuf>,
    /// Shell for users whose own lets nobody in.
    pub stand_in_shell: Option<PathBuf>,
    /// True if `/etc/hostname` names the host.
    pub has_hostname: bool,
    /// True if `/etc/machine-id` identifies it (machine-id(5)).
    pub has_machine_id: bool,
    /// True if SELinux would enforce its policy (selinux_config(5)).
    pub selinux_enforcing: bool,
    /// True if cloud-init runs when the image boots, looking for its data source.
    pub cloud_init_enabled: bool,
    /// True if Ignition is part of the image, as in CoreOS.
    pub ignition: bool,
    /// True if the image has credentials for its services (systemd.exec(5), `ImportCredential=`).
    pub credentials: bool,
    /// True if the image has a script of its own to end the boot with (systemd-rc-local-generator(8)).
    pub rc_local: bool,
    /// True if the image names kernel modules to load (modules-load.d(5)).
    pub modules_to_load: bool,
    /// Configuration of container storage (containers-storage.conf(5)).
    pub storage_conf: Option<String>,
    /// Names of the images that are logically bound to this one.
    pub bound_images: Vec<String>,
    /// Text of `/etc/fstab`, empty if there is none.
    pub fstab: String,
    /// Text of `/etc/crypttab`, empty if there is none.
    pub crypttab: String,
    /// Units that start at boot and that name devices.
    pub wanted_units: Vec<WantedUnit>,
    /// Services that ask at the console in a first boot.
    pub asking: Vec<String>,
    /// True if systemd-firstboot would ask at the console.
    pub asks_for_settings: bool,
    /// True if systemd-repart has something to do.
    pub repart: bool,
    /// File systems of the kernel that systemd mounts at boot.
    pub api_mounts: Vec<ApiMount>,
    /// Links without a carrier for which the image's boot would wait, each with its kind.
    pub awaited_links: Vec<String>,
    /// True if systemd-networkd's program that waits for links is there.
    pub networkd_waits: bool,
}

impl GuestFacts {
    /// Reads the facts of the image whose tree `root` is.
    ///
    /// # Errors
    /// If the tree cannot be read. What an image does not have is no error.
    pub fn read(root: &Rooted) -> io::Result<Self> {
        let units = Units::read(root)?;
        let sshd = sshd::read(root, &units)?;
        let network = network::read(root, &units)?;
        Ok(Self {
            systemd: any_exists(root, &["/usr/lib/systemd/systemd", "/lib/systemd/systemd"])?,
            sshd_port: sshd_port::read(root, &sshd)?,
            sshd,
            has_ssh_host_keys: sshd::has_host_keys(root)?,
            sshd_penalises: any_exists(root, &sshd::SESSION_PROGRAMS)?,
            awaited_links: links::awaited(root, &units, &network)?,
            network,
            networkd_installed: network::networkd_installed(root)?,
            root: root::read(root)?,
            var: VarLayout::read(root)?,
            root_home: root_home(root)?,
            root_shell: find_user(root, "root")?.and_then(|user| user.shell),
            stand_in_shell: stand_in_shell(root)?,
            has_hostname: has_hostname(root)?,
            has_machine_id: has_machine_id(root)?,
            selinux_enforcing: selinux_enforcing(root)?,
            cloud_init_enabled: cloud_init_enabled(root, &units)?,
            ignition: ignition(root)?,
            credentials: credentials(root)?,
            rc_local: any_exists(root, &["/etc/rc.local", "/etc/rc.d/rc.local"])?,
            modules_to_load: modules_to_load(root)?,
            storage_conf: storage_conf(root)?,
            bound_images: bound::read(root)?,
            fstab: text(root, "/etc/fstab")?,
            crypttab: text(root, "/etc/crypttab")?,
            wanted_units: waiting::wanted_units(root, &units)?,
            asking: waiting::asking(root, &units)?,
            asks_for_settings: waiting::asks_for_settings(root, &units)?,
            repart: waiting::repart(root)?,
            api_mounts: api_mounts::read(root, &units)?,
            networkd_waits: any_exists(root, &["/usr/lib/systemd/systemd-networkd-wait-online"])?,
        })
    }
}

/// Returns true if any of the paths leads to something.
fn any_exists(root: &Rooted, paths: &[&str]) -> io::Result<bool> {
    for path in paths {
        if if_exists(root.metadata(path))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the text of the file, empty if there is none.
fn text(root: &Rooted, path: &str) -> io::Result<String> {
    Ok(if_exists(root.read_text(path))?.unwrap_or_default())
}

/// Returns the names in the directory, none if there is none. Names that are not UTF-8 are left out.
fn names(root: &Rooted, path: &str) -> io::Result<Vec<String>> {
    let entries = if_exists(root.read_dir(path))?.unwrap_or_default();
    Ok(entries
        .into_iter()
        .filter_map(|e| e.name.into_string().ok())
        .collect())
}

/// Returns the last value of `key` in lines of `KEY=VALUE`, without quotes.
pub(super) fn assigned<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let value = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
        .next_back()?
        .trim();
    let unquoted = ['"', '\'']
        .iter()
        .find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
    Some(unquoted.unwrap_or(value))
}

/// Returns true if a line of a file in `modules-load.d` names a module.
fn modules_to_load(root: &Rooted) -> io::Result<bool> {
    for above in ["/etc", "/usr/local/lib", "/usr/lib", "/lib"] {
        let directory = format!("{above}/modules-load.d");
        for name in names(root, &directory)? {
            let text = text(root, &format!("{directory}/{name}"))?;
            let mut lines = text.lines().map(str::trim);
            if lines.any(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn root_home(root: &Rooted) -> io::Result<Option<PathBuf>> {
    let Some(path) = if_exists(root.destination("/root"))? else {
        return Ok(None);
    };
    let usable = match if_exists(root.symlink_metadata(&path))? {
        Some(found) => found.is_dir(),
        // It may be made when the guest boots.
        None => ["/var", "/etc"].iter().any(|dir| path.starts_with(dir)),
    };
    Ok(Some(path).filter(|_| usable))
}

fn has_hostname(root: &Rooted) -> io::Result<bool> {
    let text = text(root, "/etc/hostname")?;
    let mut lines = text.lines().map(str::trim);
    Ok(lines.any(|line| !line.is_empty() && !line.starts_with('#')))
}

/// Returns true if the image has a machine ID. systemd makes one if the file is empty or says
/// `uninitialized`.
fn has_machine_id(root: &Rooted) -> io::Result<bool> {
    let text = text(root, "/etc/machine-id")?;
    let id = text.trim_end();
    Ok(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Returns true if the image whose tree `root` is has a unit of this name, masked or not.
///
/// # Errors
/// If the tree cannot be read.
pub fn has_unit(root: &Rooted, name: &str) -> io::Result<bool> {
    Ok(units::find(root, name)? != units::Unit::Absent)
}

fn selinux_enforcing(root: &Rooted) -> io::Result<bool> {
    let config = text(root, "/etc/selinux/config")?;
    Ok(assigned(&config, "SELINUX").is_some_and(|mode| mode.eq_ignore_ascii_case("enforcing")))
}

/// Returns true if cloud-init runs. It does if its units are enabled, or if its generator enables
/// them at boot, and if nobody switched it off (cloud-init's documentation, "Boot stages").
fn cloud_init_enabled(root: &Rooted, units: &Units) -> io::Result<bool> {
    if any_exists(root, &["/etc/cloud/cloud-init.disabled"])? {
        return Ok(false);
    }
    let stages = [
        "cloud-init-main.service",
        "cloud-init-local.service",
        "cloud-init.service",
    ];
    for unit in stages {
        if units.runs_at_boot(root, unit)? {
            return Ok(true);
        }
    }
    let generator = "/usr/lib/systemd/system-generators/cloud-init-generator";
    Ok(any_exists(root, &[generator])? && units::find(root, "cloud-init.target")?.name().is_some())
}

/// Reads the host's own configuration, or that of the distribution's packages.
fn storage_conf(root: &Rooted) -> io::Result<Option<String>> {
    for path in [
        "/etc/containers/storage.conf",
        "/usr/share/containers/storage.conf",
    ] {
        if let Some(text) = if_exists(root.read_text(path))? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

fn ignition(root: &Rooted) -> io::Result<bool> {
    if any_exists(root, &["/usr/bin/ignition", "/usr/lib/ignition"])? {
        return Ok(true);
    }
    // The initramfs was made with its dracut module, 30ignition.
    let modules = names(root, "/usr/lib/dracut/modules.d")?;
    Ok(modules.iter().any(|name| name.ends_with("ignition")))
}

fn credentials(root: &Rooted) -> io::Result<bool> {
    for place in ["/etc", "/usr/lib", "/usr/local/lib"] {
        for store in ["credstore", "credstore.encrypted"] {
            if !names(root, &format!("{place}/{store}"))?.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
