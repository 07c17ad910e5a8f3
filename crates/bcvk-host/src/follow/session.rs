//! A process that a command waits for, such as the user's ssh.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::thread;

use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, kill_process, pidfd_open,
    pidfd_send_signal, waitid,
};
use signal_hook::consts::SIGCONT;
use signal_hook::iterator::Signals;

/// A process that another thread waits for. The descriptor stands for the process after its end too,
/// when its process ID may be somebody else's.
#[derive(Debug, Clone)]
pub struct Session {
    process: Arc<OwnedFd>,
}

impl Session {
    /// Starts a thread that waits for `child` and tells `ended`. As long as the child is stopped,
    /// this process is stopped too: the shell waits for this process alone, and its user has asked
    /// for the prompt (`~^Z` in ssh). When the shell continues this process, the child continues too.
    pub(crate) fn watch(
        mut child: Child,
        ended: impl FnOnce(ExitStatus) + Send + 'static,
    ) -> io::Result<Self> {
        let watched = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(|process| Ok((process, Signals::new([SIGCONT])?)));
        let (process, mut continued) = match watched {
            Ok(watched) => watched,
            Err(error) => {
                // Nobody else would end the child.
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        let session = Self {
            process: Arc::new(process),
        };
        let until = continued.handle();
        let stopped = session.clone();
        thread::spawn(move || {
            for _ in continued.forever() {
                stopped.signal(Signal::CONT);
            }
        });
        let running = session.clone();
        thread::spawn(move || {
            running.stop_together();
            until.close();
            if let Ok(status) = child.wait() {
                ended(status);
            }
        });
        Ok(session)
    }

    /// Asks the process to end.
    pub fn end(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops this process whenever the session's process is stopped; returns once the session's
    /// process has ended, before it is collected.
    fn stop_together(&self) {
        use WaitIdOptions as Options;

        let wait = |options| {
            let process = || WaitId::PidFd(self.process.as_fd());
            retry_on_intr(|| waitid(process(), options)).ok().flatten()
        };
        while let Some(change) = wait(Options::EXITED | Options::STOPPED | Options::NOWAIT)
            && change.stopped()
        {
            // A terminal stops all of its foreground processes. This process was then stopped as
            // well, and may see only after both were continued that the session's process had been
            // stopped.
            if wait(Options::STOPPED | Options::NOHANG).is_some() {
                // A process may always signal itself.
                let _ = kill_process(getpid(), Signal::STOP);
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // A process that has ended needs no signal.
        let _ = pidfd_send_signal(&self.process, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_session_ends_when_it_is_asked_to() {
        let child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let (sender, ends) = channel();
        let session = Session::watch(child, move |status| {
            let _ = sender.send(status);
        });
        let session = session.expect("watched");
        session.end();
        let status = ends.recv_timeout(Duration::from_secs(5)).expect("its end");
        assert!(!status.success(), "{status}");
        // The process has been collected by now; another process with the same ID must not be
        // signalled.
        session.end();
    }
}
