//! Processes of sessions.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::{Child, ChildStderr, Command};

use super::terminal::Terminal;
use crate::facts::User;
use crate::login::is_program;
use crate::login::server::channel::{Event, Sink, Source, Stream};
use crate::login::server::launch::Launch;

/// Places of sftp-server in distributions, below the root.
const SFTP_SERVERS: [&str; 4] = [
    "usr/lib/openssh/sftp-server",
    "usr/libexec/openssh/sftp-server",
    "usr/lib/ssh/sftp-server",
    "usr/libexec/sftp-server",
];

/// The command that becomes a session's process: it is followed by a [`Launch`] as JSON and the words of
/// what is to be executed.
#[derive(Debug, Clone)]
pub(in super::super) struct Launcher {
    pub(in super::super) program: PathBuf,
    pub(in super::super) arguments: Vec<OsString>,
}

impl Launcher {
    /// Returns the command of this very program.
    pub(in super::super) fn of_this_program() -> Self {
        Self {
            program: "/proc/self/exe".into(),
            arguments: ["internal", "session"].map(OsString::from).into(),
        }
    }
}

/// Circumstances of all sessions of a connection.
pub(in super::super) struct Context<'a> {
    pub(in super::super) root: &'a Path,
    pub(in super::super) user: &'a User,
    pub(in super::super) environment: &'a [(String, String)],
    pub(in super::super) launcher: &'a Launcher,
}

/// Purpose of a session.
pub(in super::super) enum Work {
    Shell,
    Command(Vec<u8>),
    Sftp,
}

impl Work {
    /// Returns the words to execute, none for our own server of SFTP.
    fn words(self, user: &User, root: &Path) -> Vec<OsString> {
        let shell = user.session_shell();
        match self {
            Self::Shell => vec![shell.into()],
            Self::Command(command) => {
                vec![shell.into(), "-c".into(), OsString::from_vec(command)]
            }
            Self::Sftp => {
                let mut places = SFTP_SERVERS.iter().map(|place| root.join(place));
                places
                    .find(|place| is_program(place))
                    .map(OsString::from)
                    .into_iter()
                    .collect()
            }
        }
    }
}

/// The processes that a session has started.
#[derive(Debug, Clone)]
pub(super) struct Group {
    leader: Pid,
    /// The leader has been waited for: its ID may be another's.
    ended: Arc<AtomicBool>,
}

impl Group {
    pub(super) fn new(leader: Pid) -> Self {
        Self {
            leader,
            ended: Arc::default(),
        }
    }

    /// Sends a signal to all processes that have not left the group. Returns false if there are none.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        // For a moment after its start, the leader is not yet that of a group.
        !self.ended.load(Ordering::Acquire)
            && (kill_process_group(self.leader, signal).is_ok()
                || kill_process(self.leader, signal).is_ok())
    }
}

impl Drop for super::Session {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            group.signal(Signal::HUP);
        }
    }
}

/// A process with the other ends of its standard streams.
pub(super) struct Started {
    child: Child,
    pub(super) group: Option<Group>,
    input: Box<dyn AsyncWrite + Send + Unpin>,
    output: Box<dyn AsyncRead + Send + Unpin>,
    /// A terminal has the errors among the output.
    errors: Option<ChildStderr>,
}

/// Starts a session's process.
pub(super) fn start(
    work: Work,
    context: &Context<'_>,
    environment: Vec<(String, String)>,
    mut terminal: Option<&mut Terminal>,
) -> io::Result<Started> {
    let user = context.user;
    let launch = Launch {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
        terminal: terminal.is_some(),
        login: matches!(work, Work::Shell),
    };
    let [input, output, errors] = match &mut terminal {
        Some(terminal) => terminal.take_user_side(user)?,
        None => [(); 3].map(|()| Stdio::piped()),
    };
    let mut child = Command::new(&context.launcher.program)
        .args(&context.launcher.arguments)
        .arg(launch.to_string())
        .args(work.words(user, context.root))
        .env_clear()
        .envs(environment)
        .stdin(input)
        .stdout(output)
        .stderr(errors)
        .spawn()?;
    let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut started = Started {
        group: leader.map(Group::new),
        input: Box::new(tokio::io::sink()),
        output: Box::new(tokio::io::empty()),
        errors: child.stderr.take(),
        child,
    };
    if let Some(terminal) = terminal {
        started.output = Box::new(terminal.stream()?);
        started.input = Box::new(terminal.stream()?);
    }
    if let Some(input) = started.child.stdin.take() {
        started.input = Box::new(input);
    }
    if let Some(output) = started.child.stdout.take() {
        started.output = Box::new(output);
    }
    Ok(started)
}

/// Carries the data of a process until it has ended, and nobody can write to its streams any more.
pub(super) async fn carry(started: Started, mut source: Source, sink: Sink) {
    let Started {
        mut child,
        group,
        input,
        output,
        errors,
    } = started;
    let channel = sink.channel;
    let ended = async {
        let status = child.wait().await;
        if let Some(group) = group {
            group.ended.store(true, Ordering::Release);
        }
        status
    };
    let errors = async {
        match errors {
            Some(errors) => sink.carry(errors, Stream::Errors).await,
            None => Ok(()),
        }
    };
    let ended = async { tokio::join!(ended, sink.carry(output, Stream::Output), errors) };
    tokio::select! {
        (status, ..) = ended => {
            let event = match status {
                Ok(status) => Event::Exited { channel, status },
                Err(_) => Event::Ended { channel },
            };
            // If the connection has ended, nobody wants to know.
            let _ = sink.tell(event).await;
        }
        () = feed(&mut source, input) => {}
    }
}

/// Feeds a process with the client's data. Their end is not the session's.
async fn feed(source: &mut Source, input: Box<dyn AsyncWrite + Send + Unpin>) {
    source.feed(input).await;
    std::future::pending::<()>().await;
}
