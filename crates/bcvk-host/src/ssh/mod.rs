//! Configuration with which the host's `ssh` reaches a guest.

mod handshake;
pub(crate) mod proxy;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use bcvk_contract::spec::{Login, VmSpec};

use crate::VmDir;
use crate::shell;

/// Options of `ssh_config(5)` that a user may have set for every host, with values that give a guest
/// nothing. The first value counts, so they hold where the user's file includes the stanza before its
/// own options, and those of the command line hold before them. Options that add up, such as
/// `LocalForward` or `SendEnv`, have no such value; only `ssh -F` keeps them away.
const PINNED: [(&str, &str); 13] = [
    ("AddKeysToAgent", "no"),
    ("CanonicalizeHostname", "no"),
    ("ControlMaster", "no"),
    ("ControlPath", "none"),
    ("ControlPersist", "no"),
    ("ForwardAgent", "no"),
    ("ForwardX11", "no"),
    ("ForwardX11Trusted", "no"),
    // This is the default. With "none", `ssh -A` would have no agent to forward.
    ("IdentityAgent", "SSH_AUTH_SOCK"),
    ("PermitLocalCommand", "no"),
    ("PKCS11Provider", "none"),
    ("RemoteCommand", "none"),
    ("Tunnel", "no"),
];

/// The side of a VM's boundary on which ssh runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The host: the VM directory is its own, and what the container writes is in there.
    Host,
    /// The container of a Pod, where one directory is both.
    Container,
}

/// Writes the `ssh_config(5)` stanza for one VM, whose files are in `dir`, for ssh on this `side`.
///
/// The host key is not checked: the connection runs through a socket that only this VM's
/// supervisor holds, in a directory that only its owner can enter. Who logs in is told to bcvk's own
/// way in before SSH tells it.
#[must_use]
pub fn config(spec: &VmSpec, dir: &VmDir, exe: &Path, side: Side) -> String {
    let name = &spec.name;
    let verb = match side {
        Side::Host => "proxy",
        Side::Container => "relay",
    };
    let proxy = [exe, Path::new("internal"), Path::new(verb), dir.path()]
        .map(|word| shell::quote(&word.to_string_lossy()))
        .join(" ");
    let user = match spec.login() {
        Some(Login::Own) => " '%r'",
        Some(Login::Image) | None => "",
    };
    let pinned: String = PINNED
        .iter()
        .map(|(option, value)| format!("  {option} {value}\n"))
        .collect();
    format!(
        "Host {name}\n\
         \x20 HostName {name}\n\
         \x20 User root\n\
         \x20 IdentityFile \"{key}\"\n\
         \x20 IdentitiesOnly yes\n\
         \x20 PreferredAuthentications publickey\n\
         \x20 ProxyCommand {proxy}{user}\n\
         \x20 StrictHostKeyChecking no\n\
         \x20 UserKnownHostsFile /dev/null\n\
         \x20 GlobalKnownHostsFile /dev/null\n\
         \x20 LogLevel ERROR\n\
         {pinned}",
        key = percent(&dir.ssh_key().to_string_lossy()),
        proxy = percent(&proxy),
    )
}

/// Makes the `ssh` command that logs in to a VM, or runs `words` there.
#[must_use]
pub fn command(
    program: &Path,
    dir: &VmDir,
    name: &str,
    options: &[String],
    words: &[String],
) -> Command {
    let mut command = Command::new(program);
    command
        .arg("-F")
        .arg(dir.ssh_config())
        .args(options)
        .arg(name);
    if let Some(remote) = remote_command(words) {
        command.arg("--").arg(remote);
    }
    command
}

/// Makes the `scp` command that copies from one place to another, directories with all that is in them.
#[must_use]
pub fn copy_command(program: &Path, dir: &VmDir, from: &OsStr, to: &OsStr) -> Command {
    let mut command = Command::new(program);
    command.arg("-F").arg(dir.ssh_config());
    // Quiet, recursive, with modes and times.
    command.args(["-q", "-r", "-p", "--"]).args([from, to]);
    command
}

/// Writes a path of the host for scp, which takes one with a colon for that of another host unless a
/// slash comes first.
#[must_use]
pub fn here(path: &Path) -> OsString {
    let text = path.as_os_str();
    if path.is_absolute() {
        text.to_owned()
    } else {
        Path::new(".").join(text).into()
    }
}

/// Writes a path in the VM `name` for scp.
#[must_use]
pub fn there(name: &str, path: &Path) -> OsString {
    let mut word = OsString::from(name);
    word.push(":");
    word.push(path);
    word
}

/// Returns the command for the guest's shell. A single word is a shell command, as with `ssh HOST
/// 'a; b'`; several words are one program and its arguments, as with `podman exec`, and arrive
/// unchanged.
#[must_use]
fn remote_command(words: &[String]) -> Option<String> {
    match words {
        [] => None,
        [command] => Some(command.clone()),
        words => Some(
            words
                .iter()
                .map(|w| shell::quote(w))
                .collect::<Vec<_>>()
                .join(" "),
        ),
    }
}

/// Escapes `%`, which starts a token in these options (`ssh_config(5)`, TOKENS).
fn percent(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn testvm() -> VmSpec {
        VmSpec {
            name: "testvm".parse().expect("name"),
            ..bcvk_contract::examples::example()
        }
    }

    #[test]
    fn words_arrive_as_they_were_given() {
        let words = |w: &[&str]| -> Option<String> {
            remote_command(&w.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(words(&[]), None);
        assert_eq!(
            words(&["systemctl status"]).as_deref(),
            Some("systemctl status")
        );
        assert_eq!(
            words(&["sh", "-c", "exit 7"]).as_deref(),
            Some("sh -c 'exit 7'")
        );
        assert_eq!(
            words(&["echo", "it's", "", "$HOME"]).as_deref(),
            Some(r#"echo "it's" '' '$HOME'"#)
        );
    }

    #[test]
    fn the_stanza_names_everything_ssh_needs() {
        let dir = VmDir::at("/run/user/1000/bcvk/vms/0123");
        insta::assert_snapshot!(config(&testvm(), &dir, Path::new("/opt/my tools/bcvk"), Side::Host), @r#"
        Host testvm
          HostName testvm
          User root
          IdentityFile "/run/user/1000/bcvk/vms/0123/ssh_key"
          IdentitiesOnly yes
          PreferredAuthentications publickey
          ProxyCommand '/opt/my tools/bcvk' internal proxy /run/user/1000/bcvk/vms/0123 '%r'
          StrictHostKeyChecking no
          UserKnownHostsFile /dev/null
          GlobalKnownHostsFile /dev/null
          LogLevel ERROR
          AddKeysToAgent no
          CanonicalizeHostname no
          ControlMaster no
          ControlPath none
          ControlPersist no
          ForwardAgent no
          ForwardX11 no
          ForwardX11Trusted no
          IdentityAgent SSH_AUTH_SOCK
          PermitLocalCommand no
          PKCS11Provider none
          RemoteCommand none
          Tunnel no
        "#);
    }

    /// Options that a user may have set for every host.
    const HOSTILE: &str = "Host *\n\
        AddKeysToAgent yes\n\
        CanonicalizeHostname always\n\
        ControlMaster auto\n\
        ControlPath /tmp/%C\n\
        ControlPersist 1h\n\
        ForwardAgent yes\n\
        ForwardX11 yes\n\
        ForwardX11Trusted yes\n\
        IdentityAgent /tmp/agent\n\
        LocalCommand touch /tmp/here\n\
        PermitLocalCommand yes\n\
        PKCS11Provider /tmp/library\n\
        RemoteCommand id\n\
        Tunnel yes\n\
        DynamicForward 1080\n\
        LocalForward 1081 localhost:22\n\
        RemoteForward 1082 localhost:22\n\
        SendEnv SECRET\n";

    /// Returns what ssh makes of a file: its options in lower case, each with its value.
    fn resolved(file: &Path, options: &[&str]) -> Vec<String> {
        let output = Command::new("ssh")
            .arg("-F")
            .arg(file)
            .args(options)
            .args(["-G", "testvm"])
            .output()
            .expect("ssh");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_a_user_has_set_for_every_host_is_not_for_a_vm() {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let stanza = tmp.path().join("stanza");
        let text = config(
            &testvm(),
            &VmDir::at(tmp.path()),
            Path::new("/usr/bin/bcvk"),
            Side::Host,
        );
        std::fs::write(&stanza, text).expect("write");
        let alone = resolved(&stanza, &[]);

        let user = tmp.path().join("user");
        let text = format!("Include {}\n{HOSTILE}", stanza.display());
        std::fs::write(&user, text).expect("write");
        let included = resolved(&user, &[]);
        let more: Vec<&String> = included.iter().filter(|o| !alone.contains(o)).collect();
        // These options add up, as the manual says.
        let known = [
            "dynamicforward",
            "localcommand",
            "localforward",
            "remoteforward",
            "sendenv",
        ];
        let adds_up = |option: &str| known.iter().any(|known| option.starts_with(known));
        assert!(more.iter().all(|option| adds_up(option)), "{more:?}");
        assert_eq!(more.len(), known.len(), "{more:?}");
        assert!(alone.iter().all(|option| !adds_up(option)), "{alone:?}");

        let asked = resolved(
            &stanza,
            &["-A", "-X", "-L", "1:h:2", "-oControlMaster=auto"],
        );
        for option in [
            "forwardagent yes",
            "forwardx11 yes",
            "localforward 1 [h]:2",
            "controlmaster auto",
        ] {
            assert!(asked.iter().any(|asked| asked == option), "{asked:?}");
        }
    }
}
