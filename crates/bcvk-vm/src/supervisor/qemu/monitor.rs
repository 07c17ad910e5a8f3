//! QEMU's monitor protocol (QMP), over the types of the `qapi` crate.

use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::thread;

use qapi::qmp::{self, QmpMessage};
use qapi::{Any, Command, Qmp, Stream};
use serde::Serialize;

use crate::supervisor::Event;

/// Sends commands; answers and events arrive in the supervisor's queue.
#[derive(Debug)]
pub(in crate::supervisor) struct Monitor {
    qemu: UnixStream,
}

impl Monitor {
    /// Greets QEMU and forwards its events from then on. Blocks until QEMU has set up its machine,
    /// so it is done by the thread that then reads.
    pub(in crate::supervisor) fn follow(
        qemu: &UnixStream,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let reader = qemu.try_clone()?;
        let writer = qemu.try_clone()?;
        thread::spawn(move || {
            let mut session = Qmp::new(Stream::new(BufReader::new(reader), writer));
            if let Err(error) = session.handshake() {
                tracing::debug!(%error, "QMP handshake");
                return;
            }
            let (reader, _) = session.into_inner().into_inner();
            for line in reader.lines() {
                let Ok(line) = line else { return };
                match serde_json::from_str::<QmpMessage<Any>>(&line) {
                    Ok(QmpMessage::Event(event)) => {
                        if events.send(Event::Qmp(Box::new(event))).is_err() {
                            return;
                        }
                    }
                    Ok(QmpMessage::Response(response)) => {
                        tracing::debug!(?response, "QMP");
                    }
                    Err(error) => tracing::debug!(%error, %line, "QMP"),
                }
            }
        });
        Ok(Self {
            qemu: qemu.try_clone()?,
        })
    }

    /// Presses the power button.
    pub(in crate::supervisor) fn power_down(&mut self) -> io::Result<()> {
        self.send(&qmp::system_powerdown {})
    }

    fn send<C: Command + Serialize>(&mut self, command: &C) -> io::Result<()> {
        let mut line = serde_json::to_vec(&serde_json::json!({
            "execute": C::NAME,
            "arguments": command,
        }))?;
        line.push(b'\n');
        io::Write::write_all(&mut self.qemu, &line)
    }
}
