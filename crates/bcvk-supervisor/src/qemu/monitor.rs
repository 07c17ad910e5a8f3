//! QEMU's monitor protocol (QMP), over the types of the `qapi` crate.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use qapi::qmp::{self, QmpMessage};
use qapi::{Any, Command, Qmp, Stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::args::STATE_URI;
use crate::{Event, threads};

/// How long QEMU may take to answer. It answers at once, or it hangs.
const ANSWER: Duration = Duration::from_secs(5);

/// How long writing or reading the state of a machine may take: a megabyte.
const MIGRATION: Duration = Duration::from_secs(10);

/// Between two looks at what QEMU has to do.
const PAUSE: Duration = Duration::from_millis(2);

/// Sends commands to QEMU; its events arrive in the supervisor's queue.
#[derive(Debug, Clone)]
pub(crate) struct Monitor {
    /// Empty until QEMU has greeted: it sets up its machine first.
    session: Arc<Mutex<Option<Session>>>,
}

#[derive(Debug)]
struct Session {
    qemu: UnixStream,
    answers: Receiver<Result<Any, qapi::Error>>,
}

impl Monitor {
    /// Greets QEMU and forwards its events and answers from then on.
    pub(crate) fn follow(qemu: &UnixStream, events: Sender<Event>) -> io::Result<Self> {
        let monitor = Self {
            session: Arc::default(),
        };
        let session = Arc::clone(&monitor.session);
        let (reader, writer) = (qemu.try_clone()?, qemu.try_clone()?);
        threads::spawn(move || {
            let mut qmp = Qmp::new(Stream::new(BufReader::new(reader), writer));
            if let Err(error) = qmp.handshake() {
                tracing::debug!(%error, "QMP handshake");
                return;
            }
            let (reader, qemu) = qmp.into_inner().into_inner();
            let (sender, answers) = channel();
            *lock(&session) = Some(Session { qemu, answers });
            for line in reader.lines().map_while(Result::ok) {
                let heard = match serde_json::from_str::<QmpMessage<Any>>(&line) {
                    Ok(QmpMessage::Event(event)) => {
                        events.send(Event::Qmp(Box::new(event))).is_ok()
                    }
                    Ok(QmpMessage::Response(answer)) => sender.send(answer.result()).is_ok(),
                    // An event of a QEMU that is newer than the crate.
                    Err(_) => true,
                };
                if !heard {
                    return;
                }
            }
        });
        Ok(monitor)
    }

    /// Presses the power button.
    pub(crate) fn power_down(&self) -> io::Result<()> {
        self.execute(&qmp::system_powerdown {}).map(drop)
    }

    /// Whether the guest has accepted a connection to its port `port`, as QEMU's user network sees
    /// it: `info usernet` lists the state of every connection.
    pub(crate) fn guest_accepted(&self, port: u16) -> io::Result<bool> {
        let table = self.execute(&qmp::human_monitor_command {
            command_line: "info usernet".to_owned(),
            cpu_index: None,
        })?;
        Ok(has_established(&table, port))
    }

    /// Waits until QEMU has made its machine and greeted.
    pub(crate) fn await_greeting(&self, limit: Duration) -> io::Result<()> {
        let deadline = Instant::now() + limit;
        while lock(&self.session).is_none() {
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Stops the guest and writes the state of its machine, but not its memory, to
    /// [`STATE_URI`](super::args::STATE_URI).
    pub(crate) fn save(&self) -> io::Result<()> {
        self.leave_memory()?;
        self.ask("stop", &json!({}))?;
        self.ask("migrate", &json!({ "uri": STATE_URI }))?;
        self.await_migration()
    }

    /// Reads the state of the machine back. The guest does not run yet.
    pub(crate) fn restore(&self) -> io::Result<()> {
        self.leave_memory()?;
        self.ask("migrate-incoming", &json!({ "uri": STATE_URI }))?;
        self.await_migration()
    }

    /// Lets the guest run.
    pub(crate) fn go_on(&self) -> io::Result<()> {
        self.ask("cont", &json!({})).map(drop)
    }

    /// The memory is a file that is kept, not sent (QEMU, docs/devel/migration: x-ignore-shared).
    fn leave_memory(&self) -> io::Result<()> {
        let capability = json!({ "capability": "x-ignore-shared", "state": true });
        self.ask(
            "migrate-set-capabilities",
            &json!({ "capabilities": [capability] }),
        )
        .map(drop)
    }

    fn await_migration(&self) -> io::Result<()> {
        let deadline = Instant::now() + MIGRATION;
        loop {
            let migration = self.ask("query-migrate", &json!({}))?;
            match migration["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => {
                    let why = migration["error-desc"].as_str().unwrap_or("no reason");
                    return Err(io::Error::other(why.to_owned()));
                }
                _ if Instant::now() > deadline => return Err(io::ErrorKind::TimedOut.into()),
                _ => thread::sleep(PAUSE),
            }
        }
    }

    fn execute<C>(&self, command: &C) -> io::Result<C::Ok>
    where
        C: Command + Serialize,
        C::Ok: DeserializeOwned,
    {
        let answer = self.ask(C::NAME, &serde_json::to_value(command)?)?;
        Ok(serde_json::from_value(answer)?)
    }

    /// Sends a command and waits for what it returns (QEMU, docs/interop/qmp-spec).
    pub(super) fn ask(&self, command: &str, arguments: &Any) -> io::Result<Any> {
        let mut session = lock(&self.session);
        let Some(session) = session.as_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        // An answer that came too late for its question.
        while session.answers.try_recv().is_ok() {}
        let mut line = serde_json::to_vec(&json!({
            "execute": command,
            "arguments": arguments,
        }))?;
        line.push(b'\n');
        session.qemu.write_all(&line)?;
        session
            .answers
            .recv_timeout(ANSWER)
            .map_err(|_| io::ErrorKind::TimedOut)?
            .map_err(io::Error::other)
    }
}

fn lock(session: &Mutex<Option<Session>>) -> std::sync::MutexGuard<'_, Option<Session>> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Columns: protocol and state, descriptor, source address and port, destination address and port
/// (libslirp, src/misc.c, `slirp_connection_info`).
pub(crate) fn has_established(table: &str, port: u16) -> bool {
    let port = port.to_string();
    table.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.first() == Some(&"TCP[ESTABLISHED]") && columns.get(5) == Some(&port.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_accepted_connection_to_the_port_counts() {
        let table = |state: &str| {
            format!(
                "Hub -1 (net):\r\n  \
                 Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
                 TCP[{state}]   24       127.0.0.1  2222       10.0.2.15    22     0     0\r\n  \
                 TCP[HOST_FORWARD]  12       127.0.0.1  2222       10.0.2.15    22     0     0\r\n"
            )
        };
        assert!(has_established(&table("ESTABLISHED"), 22));
        assert!(!has_established(&table("SYN_SENT"), 22));
        assert!(!has_established(&table("ESTABLISHED"), 2222));
        assert!(!has_established("", 22));
    }
}
