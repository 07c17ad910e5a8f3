//! Threads that wait for signals and for the end of the CLI, and make events of them.

use std::fs::File;
use std::io;
use std::sync::mpsc::Sender;

use bcvk_contract::lock::Lock;
use bcvk_contract::spec::CONTAINER_CLI_LOCK;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::Event;
use crate::children::Reaper;
use crate::threads;

/// As PID 1, a process gets only the signals it has asked for.
pub(super) fn forward_signals(reaper: Reaper, events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGCHLD])?;
    threads::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGCHLD {
                for (pid, status) in reaper.reap() {
                    if events.send(Event::Exited { pid, status }).is_err() {
                        return;
                    }
                }
            } else if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The command holds its lock from before the container starts.
pub(super) fn watch_cli(events: Sender<Event>) {
    threads::spawn(move || {
        let lock = File::open(CONTAINER_CLI_LOCK).and_then(Lock::shared);
        if lock.is_ok() {
            let _ = events.send(Event::CliGone);
        }
    });
}
