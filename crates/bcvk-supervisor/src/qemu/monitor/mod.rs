//! QEMU's monitor protocol (QMP), over the types of the `qapi` crate.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod states;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bcvk_contract::spec::SnapshotStage;
use qapi::qmp::{self, JobStatus, MigrationStatus, QmpMessage};
use qapi::{Any, Command};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use bcvk_contract::listening::Port;

use super::args::{incoming_uri, state_uri};
use crate::{Event, threads};

/// Time for QEMU to answer. It answers at once, or it hangs.
const ANSWER: Duration = Duration::from_secs(5);

/// Time for writing or reading the state of a machine: a megabyte.
const MIGRATION: Duration = Duration::from_secs(10);

/// Longest line that is read of a QEMU that its guest may have taken over. The longest of any other
/// is its list of connections, with 100 bytes for each.
pub(super) const MAX_LINE: usize = 1 << 20;

/// Most answers to one command that are kept. A QEMU that has not been taken over gives one.
const ANSWERS: usize = 8;

/// Sends commands to QEMU; its events arrive in the supervisor's queue.
#[derive(Debug, Clone)]
pub(crate) struct Monitor {
    shared: Arc<Shared>,
    /// The last state of a migration.
    migrated: Arc<Mutex<Receiver<MigrationStatus>>>,
    /// Ends of jobs. There is one at a time.
    jobs: Arc<Mutex<Receiver<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    link: Mutex<Link>,
    /// The link has opened or closed.
    changed: Condvar,
}

impl Shared {
    fn change(&self, link: Link) {
        *lock(&self.link) = link;
        self.changed.notify_all();
    }
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
        let shared = Arc::<Shared>::default();
        let (migration_sender, migrated) = sync_channel(1);
        let (job_sender, jobs) = sync_channel(1);
        let monitor = Self {
            shared: Arc::clone(&shared),
            migrated: Arc::new(Mutex::new(migrated)),
            jobs: Arc::new(Mutex::new(jobs)),
        };
        let (reader, writer) = (qemu.try_clone()?, qemu.try_clone()?);
        threads::spawn(move || {
            let mut reader = BufReader::new(reader);
            match greet(&mut reader, &writer) {
                Ok(()) => {
                    let (answer_sender, answers) = sync_channel(ANSWERS);
                    let last = Arc::default();
                    shared.change(Link::Open(Session {
                        qemu: writer,
                        answers,
                        last: Arc::clone(&last),
                    }));
                    let recipients = Recipients {
                        last,
                        answers: answer_sender,
                        migrated: migration_sender,
                        jobs: job_sender,
                        events,
                    };
                    recipients.pass_on(reader);
                }
                Err(error) => tracing::debug!(%error, "QMP handshake"),
            }
            // Whoever waits for an answer has seen its sender go.
            shared.change(Link::Closed);
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
        let table = self.human("info usernet".to_owned())?;
        Ok(has_established(&table, port))
    }

    /// Makes a port of the container lead to the guest's of this number.
    ///
    /// # Errors
    /// If QEMU cannot listen on it.
    pub(crate) fn open_port(&self, (protocol, port): Port) -> io::Result<()> {
        self.quietly(format!("hostfwd_add net {protocol}::{port}-:{port}"))
    }

    /// Closes a port that [`Monitor::open_port`] has opened.
    ///
    /// # Errors
    /// If it is not open.
    pub(crate) fn close_port(&self, (protocol, port): Port) -> io::Result<()> {
        let said = self.human(format!("hostfwd_remove net {protocol}::{port}"))?;
        // It says that in any case.
        if said.contains("removed") {
            Ok(())
        } else {
            Err(io::Error::other(said))
        }
    }

    /// Runs a command of the monitor for people, which says nothing if it succeeds.
    fn quietly(&self, command_line: String) -> io::Result<()> {
        let said = self.human(command_line)?;
        match said.trim() {
            "" => Ok(()),
            trouble => Err(io::Error::other(trouble.to_owned())),
        }
    }

    fn human(&self, command_line: String) -> io::Result<String> {
        self.execute(&qmp::human_monitor_command {
            command_line,
            cpu_index: None,
        })
    }

    /// Waits until QEMU has made its machine and greeted.
    pub(crate) fn await_greeting(&self, limit: Duration) -> io::Result<()> {
        let silent = |link: &mut Link| matches!(link, Link::Silent);
        let link = lock(&self.shared.link);
        let waited = self.shared.changed.wait_timeout_while(link, limit, silent);
        let (link, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match *link {
            Link::Open(_) => Ok(()),
            Link::Closed => Err(closed()),
            Link::Silent => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Stops the guest and writes the state of its machine, but not its memory, to the file for this
    /// stage.
    pub(crate) fn save(&self, stage: SnapshotStage) -> io::Result<()> {
        self.stop()?;
        self.migrate("migrate", &state_uri(stage))
    }

    /// Reads the state of the machine back. The guest does not run yet.
    pub(crate) fn restore(&self) -> io::Result<()> {
        self.migrate("migrate-incoming", &incoming_uri())
    }

    /// Lets the guest run.
    pub(crate) fn go_on(&self) -> io::Result<()> {
        self.ask("cont", &json!({})).map(drop)
    }

    /// Has QEMU leave the memory out of all states from now on: it is a file that is kept, not sent. Each
    /// new state of a migration is an event (QEMU, docs/devel/migration: x-ignore-shared;
    /// qapi/migration.json: MigrationCapability).
    fn keep_shared_memory(&self) -> io::Result<()> {
        let capabilities = ["x-ignore-shared", "events"]
            .map(|capability| json!({ "capability": capability, "state": true }));
        self.ask(
            "migrate-set-capabilities",
            &json!({ "capabilities": capabilities }),
        )
        .map(drop)
    }

    /// Writes or reads the state of the machine.
    fn migrate(&self, command: &str, uri: &str) -> io::Result<()> {
        self.keep_shared_memory()?;
        let migrated = lock(&self.migrated);
        // An earlier migration may have ended after its limit.
        let _ = migrated.try_recv();
        self.ask(command, &json!({ "uri": uri }))?;
        match migrated.recv_timeout(MIGRATION) {
            Ok(MigrationStatus::completed) => Ok(()),
            Ok(_) => {
                let migration = self.ask("query-migrate", &json!({}))?;
                let why = migration["error-desc"].as_str().unwrap_or("no reason");
                Err(io::Error::other(why.to_owned()))
            }
            Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
            Err(RecvTimeoutError::Disconnected) => Err(closed()),
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
        match &mut *lock(&self.shared.link) {
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
fn greet(qemu: &mut impl BufRead, mut commands: impl Write) -> io::Result<()> {
    let mut next = || {
        let line = read_line(qemu)?.ok_or_else(closed)?;
        io::Result::Ok(serde_json::from_slice::<Any>(&line)?)
    };
    while next()?.get("QMP").is_none() {}
    commands.write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
    while next()?.get("return").is_none() {}
    Ok(())
}

/// Recipients of what QEMU says.
struct Recipients {
    /// Number of the last command.
    last: Arc<AtomicU64>,
    answers: SyncSender<Answer>,
    migrated: SyncSender<MigrationStatus>,
    jobs: SyncSender<()>,
    events: Sender<Event>,
}

impl Recipients {
    /// Passes on the answers, the ends of migrations and of the guest, and that a guest was stopped
    /// because the host is full, until QEMU closes the connection or says more than any QEMU has to
    /// say. The guest ends once, and is stopped once.
    fn pass_on(&self, mut qemu: impl BufRead) {
        use MigrationStatus as Status;
        let mut ended = false;
        let mut stopped = false;
        while let Ok(Some(line)) = read_line(&mut qemu) {
            match serde_json::from_slice::<QmpMessage<Any>>(&line) {
                Ok(QmpMessage::Event(event @ qmp::Event::SHUTDOWN { .. })) if !ended => {
                    ended = true;
                    // Nobody listens to a VM that has ended.
                    let _ = self.events.send(Event::Qmp(Box::new(event)));
                }
                Ok(QmpMessage::Event(event)) if !stopped && lacks_space(&event) => {
                    stopped = true;
                    let _ = self.events.send(Event::Qmp(Box::new(event)));
                }
                Ok(QmpMessage::Event(qmp::Event::MIGRATION { data, .. })) => {
                    if let Status::completed | Status::failed | Status::cancelled = data.status {
                        // There is room if anybody waits for it.
                        let _ = self.migrated.try_send(data.status);
                    }
                }
                Ok(QmpMessage::Event(qmp::Event::JOB_STATUS_CHANGE { data, .. })) => {
                    if data.status == JobStatus::concluded {
                        // There is room if anybody waits for it.
                        let _ = self.jobs.try_send(());
                    }
                }
                Ok(QmpMessage::Response(answer)) => {
                    let last = self.last.load(Ordering::SeqCst);
                    if answer.id().and_then(Any::as_u64) == Some(last) {
                        // The first is there, if there is no room for another.
                        let _ = self.answers.try_send((last, answer.result()));
                    }
                }
                // An error is an event of a QEMU that is newer than the crate.
                Ok(QmpMessage::Event(_)) | Err(_) => {}
            }
        }
    }
}

/// Returns true if QEMU has stopped its guest because the host has no space for a disk.
fn lacks_space(event: &qmp::Event) -> bool {
    match event {
        qmp::Event::BLOCK_IO_ERROR { data, .. } => {
            data.nospace == Some(true) && data.action == qmp::BlockErrorAction::stop
        }
        _ => false,
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
