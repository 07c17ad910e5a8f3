//! Commands that a VM is for.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use bcvk_contract::control::Message;
use bcvk_contract::{exit, guest_port};

use super::systemctl;
use crate::early::in_order;
use crate::port::{self, tell};

/// Directory of the commands under `/run`, a file for each, in the order of the names.
pub(crate) const COMMANDS: &str = "bcvk/commands";

/// Runs the commands one after the other, until one fails, tells the host its exit code, and powers the
/// guest off.
///
/// # Errors
/// If a port cannot be opened, or the guest does not power off. The host has been told by then.
pub fn execute() -> io::Result<()> {
    let code = open_and_run();
    let told = code.as_ref().copied().unwrap_or(exit::HOST);
    tell(&Message::Executed(told));
    systemctl(["--no-block", "poweroff"])?;
    code.map(drop)
}

fn open_and_run() -> io::Result<u8> {
    let output = port::open(guest_port::STDOUT)?;
    let mut errors = port::open(guest_port::STDERR)?;
    tell(&Message::Up);
    let code = run(&Path::new("/run").join(COMMANDS), &output, &errors);
    if let Err(error) = &code {
        let _ = writeln!(errors, "bcvk: cannot run the command: {error}");
    }
    code
}

/// Returns the exit code of the last command that has run.
fn run(commands: &Path, output: &File, errors: &File) -> io::Result<u8> {
    const SHELL: &str = "/bin/sh";
    for path in in_order(commands)? {
        let status = Command::new(SHELL)
            .args(["-c", "--", &fs::read_to_string(path)?])
            .env("SHELL", SHELL)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(errors.try_clone()?)
            .status()?;
        if !status.success() {
            return Ok(exit::code_of(status));
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_run_in_order_until_one_fails() {
        for (commands, code, said) in [
            (&[][..], 0, ""),
            (&["echo a", "echo b\n"], 0, "a\nb\n"),
            (&["echo a", "exit 7", "echo b"], 7, "a\n"),
            (&["kill -9 $$"], 137, ""),
            (&["-c"], 127, ""),
            (&["echo $SHELL; cat"], 0, "/bin/sh\n"),
            (&["yes | head -1"], 0, "y\n"),
        ] {
            let dir = tempfile::tempdir().expect("a directory");
            for (index, command) in commands.iter().enumerate() {
                fs::write(dir.path().join(format!("{index:03}")), command).expect("written");
            }
            let [output, errors] =
                [(); 2].map(|()| tempfile::NamedTempFile::new().expect("a file"));
            let ended = run(dir.path(), output.as_file(), errors.as_file());
            assert_eq!(ended.expect("it ran"), code, "{commands:?}");
            let text = fs::read_to_string(output.path()).expect("text");
            assert_eq!(text, said, "{commands:?}");
        }
    }

    #[test]
    fn what_no_shell_can_be_given_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("000"), "echo \0").expect("written");
        let output = tempfile::tempfile().expect("a file");
        assert!(run(dir.path(), &output, &output).is_err());
    }
}
