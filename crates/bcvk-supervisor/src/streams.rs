//! The container's standard streams, whose log podman keeps with a bound.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use bcvk_contract::limits::LOG_BYTES;

use crate::Event;

/// Length of the prefix that conmon writes before each line: the time, the stream's name and whether
/// the line is whole (`2026-01-02T03:04:05.000000006+00:00 stdout F `).
const PREFIX_BYTES: u64 = 45;

/// Counts the bytes written to the streams, and warns when podman's log cannot hold them all.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    logged: Arc<AtomicU64>,
    events: Sender<Event>,
}

/// A stream whose bytes are counted.
pub(super) struct Counted<W> {
    out: W,
    streams: Streams,
}

impl Streams {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Self {
            logged: Arc::default(),
            events,
        }
    }

    /// Returns `out`, which podman logs, with its bytes counted.
    pub(super) fn counted<W: Write>(&self, out: W) -> Counted<W> {
        Counted {
            out,
            streams: self.clone(),
        }
    }

    fn count(&self, bytes: &[u8]) {
        let lines = bytes.split(|byte| *byte == b'\n').count() as u64 - 1;
        let logged = bytes.len() as u64 + lines * PREFIX_BYTES;
        let before = self.logged.fetch_add(logged, Ordering::Relaxed);
        if before <= LOG_BYTES && before + logged > LOG_BYTES {
            let text = "much was written: `podman logs` has only its end, 64 MiB at most";
            // Nobody listens to a VM that has ended.
            let _ = self.events.send(Event::Warning(text.to_owned()));
        }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.streams.count(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn that_podmans_log_is_cut_is_said_once_for_both_streams() {
        let (sender, events) = channel();
        let streams = Streams::new(sender);
        let mut outs = [io::sink(), io::sink()].map(|sink| streams.counted(sink));
        // The lines are short, so the log is longer than the output.
        let lines = b"\n".repeat(1 << 16);
        let rounds = LOG_BYTES / (lines.len() as u64 * (1 + PREFIX_BYTES));
        for round in 0..3 * rounds {
            let out = &mut outs[usize::from(round % 2 == 0)];
            out.write_all(&lines).expect("write");
            let said = matches!(events.try_recv(), Ok(Event::Warning(_)));
            assert_eq!(said, round == rounds, "{round} of {rounds}");
        }
    }
}
