//! Progress of a boot: one line at a terminal, a line for each phase elsewhere.

mod line;
mod terminal;

use std::env;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use bcvk_contract::status::{Phase, Status, Timestamp};
use bcvk_host::{Activity, BootTime, VmDir};
use line::{Boot, TerminalStyle};
use terminal::Terminal;

use super::say;

/// Shows states; what is left on the screen afterwards is nothing (terminal) or plain lines.
#[derive(Debug)]
pub(crate) struct Progress {
    kind: Kind,
    started: Started,
}

#[derive(Debug)]
enum Kind {
    Silent,
    Line(Terminal),
    Lines(Option<Phase>),
}

/// Beginning of the user's wait.
#[derive(Debug, Clone, Copy)]
struct Started {
    at: Instant,
    /// Part of that time that passed before the supervisor's first word; unknown until then.
    lead: Option<Duration>,
}

impl Started {
    /// Learns when the VM began: a command that joins a boot half-way counts from there.
    fn learn(&mut self, status: &Status) {
        let Some(first) = status.history.first().filter(|_| self.lead.is_none()) else {
            return;
        };
        let age = age(first.at);
        let waited = self.at.elapsed();
        self.lead = Some(waited.saturating_sub(age));
        if age > waited {
            self.at = before_now(age);
        }
    }
}

impl Progress {
    /// Makes a display that shows nothing.
    pub(super) fn silent() -> Self {
        Self::new(Kind::Silent)
    }

    /// Makes the display that suits where standard error goes.
    pub(super) fn on_stderr() -> Self {
        let shown = io::stderr().is_terminal() && may_be_redrawn(|name| env::var(name).ok());
        Self::new(if shown {
            Kind::Line(Terminal::start(TerminalStyle::of(|name| {
                env::var(name).ok()
            })))
        } else {
            Kind::Lines(None)
        })
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            started: Started {
                at: Instant::now(),
                lead: None,
            },
        }
    }

    /// Also shows what the guest in `dir` says on its console.
    pub(crate) fn listen_to(&self, dir: &VmDir) {
        if let Kind::Line(terminal) = &self.kind {
            terminal.listen_to(Activity::of(dir));
        }
    }

    /// Shows a state; `last` is how long a VM like this one took last time.
    pub(crate) fn show(&mut self, status: &Status, last: Option<&BootTime>) {
        self.started.learn(status);
        match &mut self.kind {
            Kind::Silent => {}
            Kind::Line(terminal) => terminal.show(Boot {
                phase: Some(status.phase),
                since: self.started.at,
                phase_since: before_now(age(status.since)),
                lead: self.started.lead.unwrap_or_default(),
                last: last.cloned(),
            }),
            Kind::Lines(written) => {
                if *written != Some(status.phase) {
                    *written = Some(status.phase);
                    say(&format!(
                        "bcvk: {:5.1}s {}\n",
                        self.started.at.elapsed().as_secs_f64(),
                        status.phase.describe()
                    ));
                }
            }
        }
    }

    /// Leaves the terminal to others.
    pub(crate) fn finish(&mut self) {
        // Dropping the line clears it.
        self.kind = Kind::Silent;
    }
}

fn age(at: Timestamp) -> Duration {
    Duration::from_secs_f64(Timestamp::now().seconds_since(at))
}

/// Returns the instant `age` ago. A clock that counts from the start of the machine knows nothing
/// before that start.
fn before_now(age: Duration) -> Instant {
    let now = Instant::now();
    now.checked_sub(age).unwrap_or(now)
}

/// Returns true if a line at a terminal may be drawn over and over: some terminals cannot do that,
/// and the output of a job on a CI system is read afterwards, as a log.
fn may_be_redrawn(variable: impl Fn(&str) -> Option<String>) -> bool {
    let term = variable("TERM").unwrap_or_default();
    let ci = variable("CI").unwrap_or_default();
    !["", "dumb"].contains(&term.as_str()) && ["", "0", "false"].contains(&ci.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_and_dumb_terminals_get_lines() {
        for (term, ci, redrawn) in [
            (Some("xterm"), None, true),
            (Some("xterm"), Some("false"), true),
            (Some("xterm"), Some("true"), false),
            (Some("xterm"), Some("1"), false),
            (Some("dumb"), None, false),
            (None, None, false),
        ] {
            let variable = |name: &str| match name {
                "TERM" => term.map(str::to_owned),
                "CI" => ci.map(str::to_owned),
                _ => None,
            };
            assert_eq!(may_be_redrawn(variable), redrawn, "{term:?} {ci:?}");
        }
    }
}
