//! A command in the sandbox.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::autopsy::ObservedVm;
use crate::limit;
use crate::output::Output;
use crate::running::Running;

/// A command that sees nothing of the caller's environment and cannot run for ever.
#[must_use = "a command does nothing until it runs"]
#[derive(Debug)]
pub struct Cmd {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: PathBuf,
    user: Option<(u32, u32)>,
    stdin: Option<Vec<u8>>,
    limit: Duration,
    observed_vm: Option<ObservedVm>,
}

impl Cmd {
    pub(crate) fn new(program: impl Into<PathBuf>, dir: &Path) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            dir: dir.to_owned(),
            user: None,
            stdin: Some(Vec::new()),
            limit: limit::QUICK,
            observed_vm: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Gives these bytes on stdin. Without it, stdin is empty.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Keeps stdin open, for [`Running::type_in`].
    pub fn open_stdin(mut self) -> Self {
        self.stdin = None;
        self
    }

    /// Limits how long the command may run before the test fails.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Names the VM that a failure describes if the command hangs.
    pub(crate) fn talks_to(mut self, vm: ObservedVm) -> Self {
        self.observed_vm = Some(vm);
        self
    }

    pub(crate) fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// Gives the command a terminal for stdin, stdout and stderr, which all come out as stdout here.
    pub fn at_a_terminal(self) -> Self {
        let mut line = quote(self.program.as_os_str());
        for arg in &self.args {
            line.push(' ');
            line.push_str(&quote(arg));
        }
        Self {
            program: "script".into(),
            args: [
                "--quiet",
                "--return",
                "--flush",
                "--command",
                &line,
                "/dev/null",
            ]
            .map(OsString::from)
            .to_vec(),
            ..self
        }
        .open_stdin()
    }

    /// Starts a tmux server at `socket`, with `options` for its first window, in which the shell
    /// `script` gets this command as its arguments.
    pub(crate) fn in_tmux(self, socket: &Path, options: &[&str], script: &str) -> Self {
        let mut args: Vec<OsString> = ["-u", "-f", "/dev/null", "-S"].map(Into::into).to_vec();
        args.push(socket.into());
        args.extend(["new-session", "-d"].map(Into::into));
        args.extend(options.iter().map(Into::into));
        // With more than one word, tmux needs no shell of its own.
        args.extend(["sh", "-c", script, "sh"].map(Into::into));
        args.push(self.program.into());
        args.extend(self.args);
        Self {
            program: "tmux".into(),
            args,
            ..self
        }
    }

    /// Runs the command to its end.
    #[track_caller]
    pub fn run(self) -> Output {
        let limit = self.limit;
        self.spawn().wait(limit)
    }

    /// Starts the command, as the leader of a process group of its own.
    #[must_use]
    #[track_caller]
    pub fn spawn(self) -> Running {
        let shown = self.shown();
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.env)
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        Running::start(command, shown, self.stdin, self.observed_vm)
    }

    fn shown(&self) -> String {
        std::iter::once(self.program.file_name().unwrap_or_default())
            .chain(self.args.iter().map(OsString::as_os_str))
            .map(quote)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Quotes one word of a shell's command line.
fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
