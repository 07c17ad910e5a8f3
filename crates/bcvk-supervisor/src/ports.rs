//! The guest's virtio-serial ports besides the control port, and the destinations of their bytes.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use bcvk_contract::guest_port;
use bcvk_contract::shared::SharedPaths;
use bcvk_contract::spec::{CONTAINER_LOGS, KeptLogs, Lifetime, Purpose, Stream, VmSpec};

use crate::Event;
use crate::journal::{JournalText, WholeEntries};
use crate::keep::{Capped, Log};
use crate::streams::Streams;
use crate::threads;

/// A port of the guest's and what comes through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// Number of the port; the guest's kernel calls the port `/dev/vportNpNUMBER`.
    pub(super) number: u8,
    /// Name of the port, which udev makes a link of in `/dev/virtio-ports`.
    pub(super) name: String,
    carries: Carries,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Carries {
    /// Standard output of the commands to execute.
    CommandOutput,
    /// Standard error of the commands to execute.
    CommandErrors,
    /// The initramfs's journal.
    InitrdJournal,
    /// The system's journal.
    Journal,
    /// Output for a file of the user's.
    File { container: PathBuf, host: PathBuf },
}

/// Returns the ports that a VM has.
pub(super) fn ports(spec: &VmSpec) -> Vec<Port> {
    let own = |number, name: &str, carries| Port {
        number,
        name: format!("{}{name}", guest_port::NAME_PREFIX),
        carries,
    };
    let mut ports = Vec::new();
    let executes = match spec.purpose() {
        Purpose::Execute => true,
        // A VM that is saved may be resumed to execute commands.
        Purpose::Login | Purpose::Boot => spec.snapshot.is_some(),
    };
    if executes {
        ports.push(own(guest_port::STDOUT, "stdout", Carries::CommandOutput));
        ports.push(own(guest_port::STDERR, "stderr", Carries::CommandErrors));
    }
    if spec.wants_journal() {
        ports.push(own(
            guest_port::INITRD_JOURNAL,
            "journal-initrd",
            Carries::InitrdJournal,
        ));
        ports.push(own(guest_port::JOURNAL, "journal", Carries::Journal));
    }
    for (number, serial) in (guest_port::FIRST_OF_USER..).zip(&spec.serial_ports) {
        ports.push(Port {
            number,
            name: serial.name.clone(),
            carries: Carries::File {
                container: serial.container_path(),
                host: serial.host.clone(),
            },
        });
    }
    ports
}

/// Returns true if the commands' output is the container's, because nobody waits for it elsewhere.
fn commands_own_the_streams(spec: &VmSpec) -> bool {
    spec.purpose().executes() && spec.lifetime == Lifetime::Detached
}

/// Returns the destinations of the console's bytes.
pub(super) fn console_outs(
    spec: &VmSpec,
    dir: &SharedPaths,
    streams: &Streams,
    events: &Sender<Event>,
) -> io::Result<Vec<Out>> {
    let log = Log::create("console", &dir.console_log(), events.clone())?;
    let mut outs = vec![Out::boxed(log)];
    if spec.output == Stream::Console && !commands_own_the_streams(spec) {
        outs.push(Out::boxed(streams.counted(io::stdout())));
    }
    if let Some(logs) = kept(spec, Stream::Console) {
        outs.push(Out::boxed(log_file(logs, "console.txt", events)?));
    }
    Ok(outs)
}

/// Returns the destinations of the bytes of `port`.
pub(super) fn outs(
    port: &Port,
    spec: &VmSpec,
    dir: &SharedPaths,
    streams: &Streams,
    events: &Sender<Event>,
) -> io::Result<Vec<Out>> {
    let [stdout, stderr] = dir.command_streams();
    let mut outs = Vec::new();
    match &port.carries {
        Carries::CommandOutput if commands_own_the_streams(spec) => {
            outs.push(Out::boxed(streams.counted(io::stdout())));
        }
        Carries::CommandErrors if commands_own_the_streams(spec) => {
            outs.push(Out::boxed(streams.counted(io::stderr())));
        }
        Carries::CommandOutput => outs.extend(awaited(spec, stdout)),
        Carries::CommandErrors => outs.extend(awaited(spec, stderr)),
        Carries::InitrdJournal => {
            if let Some(logs) = kept(spec, Stream::Journal) {
                let file = log_file(logs, "journal-initrd.json", events)?;
                outs.push(Out::boxed(WholeEntries::new(file)));
            }
        }
        Carries::Journal => {
            if let Some(logs) = kept(spec, Stream::Journal) {
                let file = log_file(logs, "journal.json", events)?;
                outs.push(Out::boxed(WholeEntries::new(file)));
            }
            if spec.output == Stream::Journal {
                let log = Log::create("journal", &dir.journal_log(), events.clone())?;
                outs.push(Out::boxed(JournalText::new(log)));
                let stdout = streams.counted(io::stdout());
                outs.push(Out::boxed(JournalText::new(stdout)));
            }
        }
        Carries::File { container, host } => {
            let file = Capped::create(container, host.clone(), events.clone())?;
            outs.push(Out::boxed(file));
        }
    }
    Ok(outs)
}

/// The place for the output of commands that somebody waits for; none if there are no commands.
fn awaited(spec: &VmSpec, fifo: PathBuf) -> Option<Out> {
    match spec.purpose() {
        Purpose::Execute => Some(Out::Fifo(fifo)),
        Purpose::Login | Purpose::Boot => None,
    }
}

fn kept(spec: &VmSpec, stream: Stream) -> Option<&KeptLogs> {
    spec.logs.as_ref().filter(|logs| logs.keeps(stream))
}

fn log_file(logs: &KeptLogs, name: &str, events: &Sender<Event>) -> io::Result<Capped> {
    let container = Path::new(CONTAINER_LOGS).join(name);
    Capped::create(&container, logs.host.join(name), events.clone())
}

/// A destination of bytes.
pub(super) enum Out {
    /// The destination can be written to now.
    Open(Box<dyn Write + Send>),
    /// Opening this FIFO blocks until somebody reads it.
    Fifo(PathBuf),
}

impl Out {
    fn boxed(out: impl Write + Send + 'static) -> Self {
        Self::Open(Box::new(out))
    }

    fn open(self) -> Option<Box<dyn Write + Send>> {
        match self {
            Self::Open(out) => Some(out),
            Self::Fifo(path) => {
                let fifo = OpenOptions::new().write(true).open(path).ok()?;
                Some(Box::new(fifo))
            }
        }
    }
}

/// All destinations of a stream.
pub(super) struct Outs(Vec<Box<dyn Write + Send>>);

impl Outs {
    /// Opens all destinations; blocks until each FIFO has a reader.
    pub(super) fn open(outs: Vec<Out>) -> Self {
        Self(outs.into_iter().filter_map(Out::open).collect())
    }

    /// Writes to all destinations. A destination that cannot be written to is not tried again:
    /// neither a full disk nor a reader that has gone may stop the guest.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.0
            .retain_mut(|out| out.write_all(bytes).and_then(|()| out.flush()).is_ok());
    }
}

/// Copies all that comes through a port to `outs`, until QEMU closes the port.
pub(super) fn carry(mut port: UnixStream, outs: Vec<Out>) -> JoinHandle<()> {
    threads::spawn(move || {
        let mut outs = Outs::open(outs);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match port.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => outs.write(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcvk_contract::examples::example;

    #[test]
    fn ports_have_numbers_of_their_own() {
        let ports = ports(&example());
        let shown: Vec<String> = ports
            .iter()
            .map(|port| format!("{} {}", port.number, port.name))
            .collect();
        assert_eq!(
            shown,
            [
                "2 org.bcvk.stdout",
                "3 org.bcvk.stderr",
                "4 org.bcvk.journal-initrd",
                "5 org.bcvk.journal",
                "8 results",
            ]
        );
    }

    #[test]
    fn one_that_fails_does_not_stop_the_others() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (ours, qemus) = UnixStream::pair().expect("a pair");
        let (mut reader, writer) = UnixStream::pair().expect("a pair");
        let carried = carry(ours, vec![Out::boxed(Full), Out::boxed(writer)]);
        (&qemus).write_all(b"hello").expect("write");
        drop(qemus);
        carried.join().expect("the thread");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello");
    }
}
