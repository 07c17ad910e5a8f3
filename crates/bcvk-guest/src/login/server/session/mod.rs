//! Sessions: a process of the user, with or without a terminal (RFC 4254, section 6).

mod agent;
mod modes;
mod process;
mod signals;
mod terminal;

use std::future::Future;
use std::io;

use tokio::sync::mpsc;

use self::agent::AgentSocket;
use self::process::Group;
pub(super) use self::process::{Context, Launcher, Work};
pub(super) use self::signals::exit_message;
use self::terminal::{Terminal, size};
use super::channel::{Event, Sink, Source};
use super::wire::Fields;
use crate::facts::User;

/// Most variables that a client sets.
const MAX_VARIABLES: usize = 100;

/// A session that a client has opened.
#[derive(Default)]
pub(super) struct Session {
    terminal: Option<Terminal>,
    environment: Vec<(String, String)>,
    agent: Option<String>,
    /// Its processes, once they run. They are told to hang up when the session ends before them.
    group: Option<Group>,
}

impl Session {
    /// Carries out a request that starts nothing. Returns false if it cannot be.
    pub(super) fn request(&mut self, name: &str, mut fields: Fields<'_>) -> io::Result<bool> {
        match name {
            "pty-req" => {
                let kind = fields.text()?.to_owned();
                let size = size(&mut fields)?;
                let modes = fields.bytes()?;
                self.terminal = Terminal::open(kind, size, modes).ok();
                Ok(self.terminal.is_some())
            }
            "env" => {
                let (name, value) = (fields.text()?, fields.text()?);
                let accepted = is_accepted(name) && self.environment.len() < MAX_VARIABLES;
                if accepted {
                    self.environment.push((name.to_owned(), value.to_owned()));
                }
                Ok(accepted)
            }
            "window-change" => {
                let size = size(&mut fields)?;
                let terminal = self.terminal.as_ref();
                Ok(terminal.is_some_and(|terminal| terminal.resize(size).is_ok()))
            }
            "signal" => {
                let signal = signals::named(fields.text()?);
                let group = self.group.as_ref();
                Ok(group
                    .zip(signal)
                    .is_some_and(|(group, signal)| group.signal(signal)))
            }
            _ => Ok(false),
        }
    }

    /// Makes a socket for the client's agent, which sessions know by `SSH_AUTH_SOCK`. Returns a task that
    /// accepts its connections.
    pub(super) fn forward_agent(
        &mut self,
        user: &User,
        events: mpsc::Sender<Event>,
    ) -> io::Result<impl Future<Output = ()> + use<>> {
        if self.agent.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let socket = AgentSocket::bind(user)?;
        self.agent = Some(socket.path().to_owned());
        Ok(socket.accept(events))
    }

    /// Starts the session's process. Returns a task that carries its data and tells its end.
    pub(super) fn start(
        &mut self,
        work: Work,
        context: &Context<'_>,
        source: Source,
        sink: Sink,
    ) -> io::Result<impl Future<Output = ()> + use<>> {
        let environment = self.variables(context);
        let started = process::start(work, context, environment, self.terminal.as_mut())?;
        self.group.clone_from(&started.group);
        Ok(process::carry(started, source, sink))
    }

    /// Returns the environment of the session's process, the values that count last.
    fn variables(&self, context: &Context<'_>) -> Vec<(String, String)> {
        // `sshd -i` says the same of a client that it has no address of. Debian's bash knows by it
        // that it has to read ~/.bashrc.
        const NOWHERE: &str = "UNKNOWN 65535";
        let user = context.user;
        let path = if user.uid == 0 {
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        } else {
            "/usr/local/bin:/usr/bin:/bin"
        };
        let mut variables: Vec<_> = [
            ("HOME", user.home.to_string_lossy().as_ref()),
            ("USER", &user.name),
            ("LOGNAME", &user.name),
            ("SHELL", user.session_shell().to_string_lossy().as_ref()),
            ("PATH", path),
            ("SSH_CLIENT", &format!("{NOWHERE} 65535")),
            ("SSH_CONNECTION", &format!("{NOWHERE} {NOWHERE}")),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        variables.extend_from_slice(&self.environment);
        if let Some(terminal) = &self.terminal {
            variables.push(("TERM".to_owned(), terminal.kind().to_owned()));
        }
        // As of sshd's `SetEnv`, they count even where a client has set them too.
        variables.extend_from_slice(context.environment);
        if let Some(terminal) = &self.terminal {
            variables.push(("SSH_TTY".to_owned(), terminal.name().to_owned()));
        }
        if let Some(agent) = &self.agent {
            variables.push(("SSH_AUTH_SOCK".to_owned(), agent.clone()));
        }
        variables
    }
}

/// Returns true if a client may set a variable, as `AcceptEnv` says where the image's sshd serves.
fn is_accepted(name: &str) -> bool {
    matches!(name, "LANG" | "COLORTERM" | "NO_COLOR") || name.starts_with("LC_")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command};

    use rustix::process::Pid;

    use super::*;
    use crate::login::server::wire::Message;

    fn sleeper() -> Child {
        let mut command = Command::new("sleep");
        command.arg("60").process_group(0);
        command.spawn().expect("sleep runs")
    }

    fn session_of(leader: &Child) -> Session {
        let mut session = Session::default();
        session.group = Some(Group::new(Pid::from_child(leader)));
        session
    }

    /// OpenSSH's client sends none of these.
    #[test]
    fn signals_reach_the_processes_of_a_session() {
        for (name, number) in [("KILL", 9), ("USR1", 10), ("TERM", 15)] {
            let mut sleeper = sleeper();
            let mut session = session_of(&sleeper);
            let request = |name| Message::default().bytes(name).into_bytes();
            assert!(
                !session
                    .request("signal", Fields::new(&request("NONE")))
                    .expect("read")
            );
            assert!(
                session
                    .request("signal", Fields::new(&request(name)))
                    .expect("read")
            );
            assert_eq!(sleeper.wait().expect("it ends").signal(), Some(number));
        }
    }

    #[test]
    fn a_session_that_is_given_up_hangs_up() {
        let mut sleeper = sleeper();
        drop(session_of(&sleeper));
        assert_eq!(sleeper.wait().expect("it ends").signal(), Some(1));
    }

    #[test]
    fn clients_set_no_variable_that_programs_load() {
        for (name, accepted) in [
            ("LANG", true),
            ("LC_ALL", true),
            ("LD_PRELOAD", false),
            ("PATH", false),
        ] {
            let request = Message::default().bytes(name).bytes("x").into_bytes();
            let request = Session::default().request("env", Fields::new(&request));
            assert_eq!(request.expect("read"), accepted, "{name}");
        }
    }
}
