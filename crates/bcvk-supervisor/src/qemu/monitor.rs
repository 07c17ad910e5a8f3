//! QEMU's monitor protocol (QMP), over the types of the `qapi` crate.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use qapi::qmp::{self, QmpMessage};
use qapi::{Any, Command};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::args::STATE_URI;
use crate::{Event, threads};

/// Time for QEMU to answer. It answers at once, or it hangs.
const ANSWER: Duration = Duration::from_secs(5);

/// Time for writing or reading the state of a machine: a megabyte.
const MIGRATION: Duration = Duration::from_secs(10);

/// Pause between two looks at QEMU's work.
const PAUSE: Duration = Duration::from_millis(2);

/// Longest line that is read of a QEMU that its guest may have taken over. The longest of any other
/// is its list of connections, with 100 bytes for each.
pub(super) const MAX_LINE: usize = 1 << 20;

/// Most answers to one command that are kept. A QEMU that has not been taken over gives one.
const ANSWERS: usize = 8;

/// Sends commands to QEMU; its events arrive in the supervisor's queue.
#[derive(Debug, Clone)]
pub(crate) struct Monitor {
    link: Arc<Mutex<Link>>,
}

/// The connection to QEMU.
#[derive(Debug, Default)]
enum Link {
    /// QEMU has not greeted: it sets up its machine first.
    #[default]
    Silent,
    /// QEMU answers.
    Open(Session),
    /// QEMU has closed it.
    Closed,
}

#[derive(Debug)]
struct Session {
    qemu: UnixStream,
    answers: Receiver<Answer>,
    /// Number of the last command. Answers to others came too late.
    last: Arc<AtomicU64>,
}

/// Number of a command and what it has returned.
type Answer = (u64, Result<Any, qapi::Error>);

impl Monitor {
    /// Greets QEMU and forwards its events and answers from then on.
    pub(crate) fn follow(qemu: &UnixStream, events: Sender<Event>) -> io::Result<Self> {
        let monitor = Self {
            link: Arc::default(),
        };
        let link = Arc::clone(&monitor.link);
        let (reader, writer) = (qemu.try_clone()?, qemu.try_clone()?);
        threads::spawn(move || {
            let mut reader = BufReader::new(reader);
            match greet(&mut reader, &writer) {
                Ok(()) => {
                    let (sender, answers) = sync_channel(ANSWERS);
                    let last = Arc::default();
                    *lock(&link) = Link::Open(Session {
                        qemu: writer,
                        answers,
                        last: Arc::clone(&last),
                    });
                    pass_on(reader, &last, &sender, &events);
                }
                Err(error) => tracing::debug!(%error, "QMP handshake"),
            }
            // Whoever waits for an answer has seen its sender go.
            *lock(&link) = Link::Closed;
        });
        Ok(monitor)
    }

    /// Presses the power button.
    pub(crate) fn power_down(&self) -> io::Result<()> {
        self.execute(&qmp::system_powerdown {}).map(drop)
    }

    /// Returns true if the guest has accepted a connection to its port `port`, as QEMU's user network sees
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
        loop {
            match *lock(&self.link) {
                Link::Open(_) => return Ok(()),
                Link::Closed => return Err(closed()),
                Link::Silent if Instant::now() > deadline => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Link::Silent => {}
            }
            thread::sleep(PAUSE);
        }
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
        self.ask_within(ANSWER, command, arguments)
    }

    pub(super) fn ask_within(
        &self,
        limit: Duration,
        command: &str,
        arguments: &Any,
    ) -> io::Result<Any> {
        match &mut *lock(&self.link) {
            Link::Silent => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "QEMU has not greeted yet",
            )),
            Link::Open(session) => session.ask(limit, command, arguments),
            Link::Closed => Err(closed()),
        }
    }
}

impl Session {
    fn ask(&mut self, limit: Duration, command: &str, arguments: &Any) -> io::Result<Any> {
        let number = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        let mut line = serde_json::to_vec(&json!({
            "execute": command,
            "arguments": arguments,
            "id": number,
        }))?;
        line.push(b'\n');
        let deadline = Instant::now() + limit;
        // They came too late for the last command.
        while self.answers.try_recv().is_ok() {}
        // A QEMU that hangs does not read either.
        self.qemu.set_write_timeout(Some(limit))?;
        self.qemu.write_all(&line)?;
        while Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(left) {
                Ok((id, answer)) if id == number => {
                    return answer.map_err(io::Error::other);
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(closed()),
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// Waits for QEMU's greeting and leaves the negotiation of capabilities: before that, it takes no other
/// command. (The crate's own way panics if QEMU ends meanwhile.)
fn greet(qemu: &mut impl BufRead, mut commands: &UnixStream) -> io::Result<()> {
    let mut next = || {
        let line = read_line(qemu)?.ok_or_else(closed)?;
        io::Result::Ok(serde_json::from_slice::<Any>(&line)?)
    };
    while next()?.get("QMP").is_none() {}
    commands.write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
    while next()?.get("return").is_none() {}
    Ok(())
}

/// Passes on the answers and the end of the guest, until QEMU closes the connection or says more than
/// any QEMU has to say. Of its events, that end is the only one that matters, and it comes once.
fn pass_on(
    mut qemu: impl BufRead,
    last: &AtomicU64,
    answers: &SyncSender<Answer>,
    events: &Sender<Event>,
) {
    let mut ended = false;
    while let Ok(Some(line)) = read_line(&mut qemu) {
        match serde_json::from_slice::<QmpMessage<Any>>(&line) {
            Ok(QmpMessage::Event(event @ qmp::Event::SHUTDOWN { .. })) if !ended => {
                ended = true;
                // Nobody listens to a VM that has ended.
                let _ = events.send(Event::Qmp(Box::new(event)));
            }
            Ok(QmpMessage::Response(answer)) => {
                let last = last.load(Ordering::SeqCst);
                if answer.id().and_then(Any::as_u64) == Some(last) {
                    // The first is there, if there is no room for another.
                    let _ = answers.try_send((last, answer.result()));
                }
            }
            // An error is an event of a QEMU that is newer than the crate.
            Ok(QmpMessage::Event(_)) | Err(_) => {}
        }
    }
}

/// Returns the next line, with its end; `None` when there is no more.
///
/// # Errors
/// As read(2); [`io::ErrorKind::InvalidData`] for a line that is too long.
fn read_line(qemu: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    qemu.take(MAX_LINE as u64 + 1)
        .read_until(b'\n', &mut line)?;
    match line.len() {
        0 => Ok(None),
        length if length <= MAX_LINE => Ok(Some(line)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "QEMU has closed its monitor",
    )
}

fn lock(link: &Mutex<Link>) -> MutexGuard<'_, Link> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
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
    use std::sync::mpsc::channel;

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    /// The commands of a QEMU that is played by a test: reads them, and answers by the test's words.
    struct Fake {
        lines: io::Lines<BufReader<UnixStream>>,
        socket: UnixStream,
    }

    impl Fake {
        /// A monitor that has been greeted, and the one that it talks to.
        fn pair() -> (Monitor, Fake) {
            let (ours, qemus) = UnixStream::pair().expect("a pair");
            let (events, _) = channel();
            let monitor = Monitor::follow(&ours, events).expect("a monitor");
            let lines = BufReader::new(qemus.try_clone().expect("a clone")).lines();
            let mut fake = Fake {
                lines,
                socket: qemus,
            };
            let version = json!({ "qemu": { "major": 8, "minor": 2, "micro": 0 }, "package": "" });
            fake.say(&json!({ "QMP": { "version": version, "capabilities": [] } }));
            assert_eq!(fake.read()["execute"], "qmp_capabilities");
            fake.say(&json!({ "return": {} }));
            monitor.await_greeting(ANSWER).expect("a greeting");
            (monitor, fake)
        }

        fn read(&mut self) -> Any {
            let line = self.lines.next().expect("a line").expect("read");
            serde_json::from_str(&line).expect("JSON")
        }

        fn say(&mut self, value: &Any) {
            writeln!(self.socket, "{value}").expect("written");
        }
    }

    /// Asks a fake QEMU something while `answer` plays it; returns both, to go on.
    fn ask(
        monitor: &Monitor,
        mut fake: Fake,
        answer: impl FnOnce(&mut Fake, u64) + Send + 'static,
    ) -> (io::Result<Any>, Fake) {
        let played = thread::spawn(move || {
            let id = fake.read()["id"].as_u64().expect("a number");
            answer(&mut fake, id);
            fake
        });
        let answer = monitor.ask_within(SHORT, "query-status", &json!({}));
        (answer, played.join().expect("no panic"))
    }

    #[test]
    fn a_command_gets_its_own_answer_and_no_other() {
        let (monitor, fake) = Fake::pair();
        let (answer, fake) = ask(&monitor, fake, |fake, id| {
            fake.say(&json!({ "return": "another's", "id": id + 7 }));
            fake.say(&json!({ "return": "nobody's" }));
            fake.say(&json!({ "return": "this", "id": id }));
        });
        assert_eq!(answer.expect("an answer"), "this");

        let (answer, fake) = ask(&monitor, fake, |_, _| {});
        let error = answer.expect_err("no answer");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let (answer, fake) = ask(&monitor, fake, |fake, id| {
            fake.say(&json!({ "return": "late", "id": id - 1 }));
            fake.say(&json!({
                "error": { "class": "GenericError", "desc": "no such thing" },
                "id": id,
            }));
        });
        let error = answer.expect_err("an error");
        assert!(error.to_string().contains("no such thing"), "{error}");
        drop(fake);
    }

    #[test]
    fn nobody_waits_for_a_qemu_that_has_gone() {
        let (monitor, fake) = Fake::pair();
        let begun = Instant::now();
        let played = thread::spawn(move || {
            let mut fake = fake;
            fake.read();
        });
        let error = monitor.ask("stop", &json!({})).expect_err("no answer");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        played.join().expect("no panic");
        let error = monitor.ask("stop", &json!({})).expect_err("no answer");
        let gone = [io::ErrorKind::ConnectionAborted, io::ErrorKind::BrokenPipe];
        assert!(gone.contains(&error.kind()), "{error}");

        let (ours, qemus) = UnixStream::pair().expect("a pair");
        let (events, _) = channel();
        let monitor = Monitor::follow(&ours, events).expect("a monitor");
        let error = monitor.ask("stop", &json!({})).expect_err("no greeting");
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        drop(qemus);
        let error = monitor.await_greeting(ANSWER).expect_err("none comes");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(begun.elapsed() < ANSWER);
    }

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
