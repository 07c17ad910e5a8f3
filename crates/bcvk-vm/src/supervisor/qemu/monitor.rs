//! QEMU's monitor protocol (QMP), over the types of the `qapi` crate.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use qapi::qmp::{self, QmpMessage};
use qapi::{Any, Command, Qmp, Stream};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::supervisor::Event;

/// How long QEMU may take to answer. It answers at once, or it hangs.
const ANSWER: Duration = Duration::from_secs(5);

/// Sends commands to QEMU; its events arrive in the supervisor's queue.
#[derive(Debug, Clone)]
pub(in crate::supervisor) struct Monitor {
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
    pub(in crate::supervisor) fn follow(
        qemu: &UnixStream,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let monitor = Self {
            session: Arc::default(),
        };
        let session = Arc::clone(&monitor.session);
        let (reader, writer) = (qemu.try_clone()?, qemu.try_clone()?);
        thread::spawn(move || {
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
    pub(in crate::supervisor) fn power_down(&self) -> io::Result<()> {
        self.execute(&qmp::system_powerdown {}).map(drop)
    }

    /// Whether the guest has accepted a connection to its port `port`, as QEMU's user network sees
    /// it: `info usernet` lists the state of every connection.
    pub(in crate::supervisor) fn guest_accepted(&self, port: u16) -> io::Result<bool> {
        let table = self.execute(&qmp::human_monitor_command {
            command_line: "info usernet".to_owned(),
            cpu_index: None,
        })?;
        Ok(has_established(&table, port))
    }

    fn execute<C>(&self, command: &C) -> io::Result<C::Ok>
    where
        C: Command + Serialize,
        C::Ok: DeserializeOwned,
    {
        let mut session = lock(&self.session);
        let Some(session) = session.as_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        // An answer that came too late for its question.
        while session.answers.try_recv().is_ok() {}
        let mut line = serde_json::to_vec(&serde_json::json!({
            "execute": C::NAME,
            "arguments": command,
        }))?;
        line.push(b'\n');
        session.qemu.write_all(&line)?;
        let answer = session
            .answers
            .recv_timeout(ANSWER)
            .map_err(|_| io::ErrorKind::TimedOut)?
            .map_err(io::Error::other)?;
        Ok(serde_json::from_value(answer)?)
    }
}

fn lock(session: &Mutex<Option<Session>>) -> std::sync::MutexGuard<'_, Option<Session>> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Columns: protocol and state, descriptor, source address and port, destination address and port
/// (libslirp, src/misc.c, `slirp_connection_info`).
pub(in crate::supervisor) fn has_established(table: &str, port: u16) -> bool {
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
