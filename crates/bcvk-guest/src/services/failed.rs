//! Failed units, in the initramfs and in the real root.

use std::env;
use std::io;
use std::process::{Command, Stdio};

use bcvk_contract::control::Message;

use crate::port::tell;

/// Tells the host which units failed and what they said last. An initramfs may have no journalctl; the
/// host then hears the names alone.
pub fn report_failed() {
    let listed = output(
        "systemctl",
        &[
            "list-units",
            "--state=failed",
            "--plain",
            "--no-legend",
            "--no-pager",
        ],
    );
    // A unit that systemd is about to start again is not in the state failed; systemd names it here
    // if it has OnFailure= (systemd.exec(5)).
    let trigger = env::var("MONITOR_UNIT").ok();
    for unit in failed_units(trigger.as_deref(), &listed.unwrap_or_default()) {
        let said = output(
            "journalctl",
            &["-b", "-u", unit, "-o", "cat", "--no-pager", "-n", "5"],
        );
        tell(&failure(unit, &said.unwrap_or_default()));
    }
    tell(&Message::Reported);
}

fn output(program: &str, args: &[&str]) -> io::Result<String> {
    let mut command = Command::new(program);
    let done = command.args(args).stderr(Stdio::inherit()).output()?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Returns the unit that has triggered the report, if any, and those that systemctl has listed.
fn failed_units<'a>(trigger: Option<&'a str>, listed: &'a str) -> Vec<&'a str> {
    let listed = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let others = listed.filter(|unit| Some(*unit) != trigger);
    trigger.into_iter().chain(others).collect()
}

/// Returns the message for a unit that `said` these lines, as one line.
fn failure(unit: &str, said: &str) -> Message {
    let said: Vec<&str> = said.lines().collect();
    Message::Failed(format!("{unit}: {}", said.join("|")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failed_unit_is_named_once() {
        let listed = "ssh.service loaded failed failed OpenBSD Secure Shell server\n\
                      -.mount     loaded failed failed Root Mount\n";
        for (trigger, units) in [
            (None, vec!["ssh.service", "-.mount"]),
            (Some("ssh.service"), vec!["ssh.service", "-.mount"]),
            (
                Some("a.service"),
                vec!["a.service", "ssh.service", "-.mount"],
            ),
        ] {
            assert_eq!(failed_units(trigger, listed), units, "{trigger:?}");
        }
        assert!(failed_units(None, "").is_empty());
    }

    #[test]
    fn a_message_has_one_line() {
        for (said, line) in [
            (
                "no such file\ngiving up\n",
                "failed a.service: no such file|giving up",
            ),
            ("C:\\new\n", "failed a.service: C:\\new"),
            ("", "failed a.service: "),
        ] {
            assert_eq!(failure("a.service", said).to_string(), line);
        }
    }

    #[test]
    fn what_is_not_installed_says_nothing() {
        assert!(output("/no/such/program", &[]).is_err());
        assert_eq!(output("echo", &["a"]).expect("it runs"), "a\n");
    }
}
