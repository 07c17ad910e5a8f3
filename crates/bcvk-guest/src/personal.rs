//! The data that make a guest which was saved, or resumed, one VM and no other.

use std::path::Path;

use base64ct::{Base64, Encoding};
use bcvk_contract::spec::{EnvVar, Login, MachineId, Purpose, UnitFile, VmSpec};

use crate::agent::{Mount, NewHostKey, Personal, PersonalFile};
use crate::archive::env::environment;
use crate::archive::execute::{EXECUTE_UNIT, commands};
use crate::archive::mounts::share_units;
use crate::archive::ssh::{HOST_KEY, USER_KEY, host_key, user_key};
use crate::facts::{GuestFacts, Sshd};
use crate::login::{FILE, Identity};

/// The identities that an image and its user leave open, so that each VM gets its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenIdentity {
    /// True if the guest is named after its VM.
    pub hostname: bool,
    /// True if the guest's machine ID is made up.
    pub machine_id: bool,
    /// Service that reads the SSH host key, if one is made for the VM.
    pub sshd: Option<String>,
    /// Port on which that is reached.
    pub sshd_port: u16,
}

impl OpenIdentity {
    /// The parts of the identity that neither the image nor the user has fixed.
    #[must_use]
    pub fn new(spec: &VmSpec, facts: &GuestFacts) -> Self {
        let given = |name| spec.kargs.iter().any(|karg| karg.name() == name);
        Self {
            hostname: !facts.has_hostname && !given("systemd.hostname"),
            machine_id: !facts.has_machine_id && !given("systemd.machine_id"),
            sshd: sshd_service(&facts.sshd).filter(|_| !facts.has_ssh_host_keys),
            sshd_port: facts.sshd_port,
        }
    }
}

fn sshd_service(sshd: &Sshd) -> Option<String> {
    match sshd {
        Sshd::Absent | Sshd::BinaryOnly { .. } | Sshd::Masked { .. } => None,
        Sshd::Enabled { unit } | Sshd::SocketActivated { unit } | Sshd::Installed { unit } => {
            let name = unit.strip_suffix(".socket");
            Some(name.map_or_else(|| unit.clone(), |name| format!("{name}.service")))
        }
    }
}

/// Describes how the guest becomes the VM of `spec`: with this `identity`, `machine_id` if it is to
/// have another, random bytes as `entropy`, and the time in nanoseconds since the Unix epoch.
pub fn personal(
    spec: &VmSpec,
    identity: &OpenIdentity,
    machine_id: Option<MachineId>,
    entropy: &[u8; 64],
    clock: u64,
) -> Personal {
    let in_run = |name: &str| Path::new("/run").join(name);
    let mut files = Vec::new();
    let mut secret = |path, text: String| files.push(PersonalFile { path, text });
    if let Some(ssh) = &spec.ssh {
        match ssh.login {
            Login::Own => secret(in_run(FILE), Identity::of(spec, ssh).text()),
            Login::Image => {
                secret(
                    "/root/.ssh/authorized_keys".into(),
                    ssh.authorized_key.clone(),
                );
                secret(in_run(USER_KEY), user_key(ssh));
            }
        }
    }
    if identity.sshd.is_some() {
        secret(in_run(HOST_KEY), host_key(spec));
    }
    for (name, text) in commands(&spec.execute) {
        secret(in_run(&name), text.to_owned());
    }
    let (logs_in, executes) = match spec.purpose() {
        Purpose::Login => (true, false),
        Purpose::Boot => (false, false),
        Purpose::Execute => (false, true),
    };
    Personal {
        clock,
        entropy: Base64::encode_string(entropy),
        hostname: identity.hostname.then(|| hostname(spec.name.as_str())),
        machine_id,
        host_key: identity.sshd.clone().map(|service| NewHostKey {
            service,
            text: spec.host_key.clone(),
            awaited: (logs_in && spec.login() == Some(Login::Image)).then_some(identity.sshd_port),
        }),
        aged: Vec::new(),
        files,
        environment: environment(&spec.env),
        manager_environment: spec
            .env
            .iter()
            .filter(|v| for_manager(v))
            .map(EnvVar::to_string)
            .collect(),
        units: units(spec, executes),
        kept: share_units(&spec.shares),
        wanted: spec
            .units
            .iter()
            .filter_map(UnitFile::wanted_by_late_target)
            .map(str::to_owned)
            .collect(),
        mounts: spec
            .shares
            .iter()
            .map(|share| Mount {
                tag: share.tag.clone(),
                on: share.guest_path.clone(),
                read_only: share.read_only,
            })
            .collect(),
        disks: spec.disks.iter().map(|disk| disk.name.clone()).collect(),
        start: executes.then(|| EXECUTE_UNIT.to_owned()),
    }
}

/// Returns the user's units and, if commands are to run, a drop-in for their unit, which comes
/// after those units, as it comes after `multi-user.target` in a boot.
fn units(spec: &VmSpec, executes: bool) -> Vec<UnitFile> {
    let mut units = spec.units.clone();
    let wanted: Vec<_> = units
        .iter()
        .filter_map(UnitFile::wanted_by_late_target)
        .collect();
    if !wanted.is_empty() && executes {
        let text = format!("[Unit]\nAfter={}\n", wanted.join(" "));
        units.push(UnitFile {
            path: format!("{EXECUTE_UNIT}.d/50-units.conf"),
            content: bcvk_contract::spec::UnitContent::File(text),
        });
    }
    units
}

/// Returns true if systemd takes the variable; in a boot it leaves out the others (systemd,
/// src/basic/env-util.c, `env_name_is_valid`).
fn for_manager(var: &EnvVar) -> bool {
    !var.name.starts_with(|c: char| c.is_ascii_digit())
        && var
            .name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Makes `name` a host name (`hostname(7)`): at most 64 letters, digits, dashes and dots.
#[must_use]
pub fn hostname(name: &str) -> String {
    let text: String = name
        .chars()
        .map(|c| if c == '_' { '-' } else { c })
        .take(64)
        .collect();
    text.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcvk_contract::examples::example;
    use bcvk_contract::spec::UnitContent;

    #[test]
    fn the_service_of_a_socket_reads_the_host_key() {
        for (sshd, service) in [
            (
                Sshd::Enabled {
                    unit: "ssh.service".into(),
                },
                Some("ssh.service"),
            ),
            (
                Sshd::SocketActivated {
                    unit: "sshd.socket".into(),
                },
                Some("sshd.service"),
            ),
            (
                Sshd::BinaryOnly {
                    path: "/usr/sbin/sshd".into(),
                },
                None,
            ),
            (Sshd::Absent, None),
        ] {
            assert_eq!(sshd_service(&sshd).as_deref(), service, "{sshd:?}");
        }
    }

    #[test]
    fn commands_come_after_units() {
        let unit = |path: &str| UnitFile {
            path: path.to_owned(),
            content: UnitContent::Link("../a.service".to_owned()),
        };
        let spec = VmSpec {
            units: vec![unit("multi-user.target.wants/a.service")],
            execute: vec!["true".to_owned()],
            ..example()
        };
        let made = personal(&spec, &OpenIdentity::default(), None, &[0; 64], 1);
        assert_eq!(made.wanted, ["a.service"]);
        let last = made.units.last().expect("a unit");
        assert_eq!(last.path, "bcvk-execute.service.d/50-units.conf");
        assert_eq!(
            last.content,
            UnitContent::File("[Unit]\nAfter=a.service\n".to_owned())
        );
        let spec = VmSpec {
            execute: Vec::new(),
            ..spec
        };
        let made = personal(&spec, &OpenIdentity::default(), None, &[0; 64], 1);
        assert_eq!(made.units, spec.units);
    }

    #[test]
    fn what_systemd_takes_for_a_variable() {
        for (name, taken) in [("A_1", true), ("a.b-c", false), ("1A", false)] {
            let var = EnvVar {
                name: name.to_owned(),
                value: String::new(),
            };
            assert_eq!(for_manager(&var), taken, "{name}");
        }
    }
}
