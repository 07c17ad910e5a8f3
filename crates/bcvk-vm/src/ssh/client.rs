//! How the host's `ssh` reaches a guest.

use std::path::Path;
use std::process::Command;

use crate::host::VmDir;
use crate::shell;
use crate::spec::VmName;

/// The `ssh_config(5)` stanza for one VM.
///
/// The host key is not checked: the connection runs through a socket that only this VM's
/// supervisor holds, in a directory that only its owner can enter.
#[must_use]
pub fn config(name: &VmName, dir: &VmDir, exe: &Path) -> String {
    let proxy = [exe, Path::new("internal"), Path::new("proxy"), dir.path()]
        .map(|word| shell::quote(&word.to_string_lossy()))
        .join(" ");
    format!(
        "Host {name}\n\
         \x20 HostName {name}\n\
         \x20 User root\n\
         \x20 IdentityFile \"{key}\"\n\
         \x20 IdentitiesOnly yes\n\
         \x20 PreferredAuthentications publickey\n\
         \x20 ProxyCommand {proxy}\n\
         \x20 StrictHostKeyChecking no\n\
         \x20 UserKnownHostsFile /dev/null\n\
         \x20 GlobalKnownHostsFile /dev/null\n\
         \x20 LogLevel ERROR\n",
        key = percent(&dir.ssh_key().to_string_lossy()),
        proxy = percent(&proxy),
    )
}

/// The `ssh` that logs in to a VM, or runs `words` there.
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

/// The command for the guest's shell. A single word is a shell command, as with `ssh HOST 'a; b'`;
/// several words are one program and its arguments, as with `podman exec`, and arrive unchanged.
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

/// `%` starts a token in these options (`ssh_config(5)`, TOKENS).
fn percent(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let name: VmName = "testvm".parse().expect("name");
        let dir = VmDir::at("/run/user/1000/bcvk/vms/0123");
        insta::assert_snapshot!(config(&name, &dir, Path::new("/opt/my tools/bcvk")), @r#"
        Host testvm
          HostName testvm
          User root
          IdentityFile "/run/user/1000/bcvk/vms/0123/ssh_key"
          IdentitiesOnly yes
          PreferredAuthentications publickey
          ProxyCommand '/opt/my tools/bcvk' internal proxy /run/user/1000/bcvk/vms/0123
          StrictHostKeyChecking no
          UserKnownHostsFile /dev/null
          GlobalKnownHostsFile /dev/null
          LogLevel ERROR
        "#);
    }
}
