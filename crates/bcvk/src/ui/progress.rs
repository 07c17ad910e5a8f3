//! The line that shows how far a boot has come.

use std::time::{Duration, Instant};

use bcvk_vm::status::{Phase, Status};
use indicatif::{ProgressBar, ProgressStyle};

use super::say;

/// How often the seconds are drawn anew.
const TICK: Duration = Duration::from_millis(100);

/// Shows states; what is left on the screen afterwards is nothing (terminal) or plain lines.
#[derive(Debug)]
pub(crate) struct Progress {
    kind: Kind,
    started: Instant,
}

#[derive(Debug)]
enum Kind {
    Silent,
    Spinner(ProgressBar),
    Lines(Option<Phase>),
}

impl Progress {
    pub(super) fn silent() -> Self {
        Self::new(Kind::Silent)
    }

    pub(super) fn lines() -> Self {
        Self::new(Kind::Lines(None))
    }

    pub(super) fn spinner() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message("starting the container");
        bar.enable_steady_tick(TICK);
        Self::new(Kind::Spinner(bar))
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            started: Instant::now(),
        }
    }

    /// Shows a state.
    pub(crate) fn show(&mut self, status: &Status) {
        match &mut self.kind {
            Kind::Silent => {}
            Kind::Spinner(bar) => bar.set_message(status.phase.describe()),
            Kind::Lines(last) => {
                if *last != Some(status.phase) {
                    *last = Some(status.phase);
                    say(&format!(
                        "bcvk: {:5.1}s {}\n",
                        self.started.elapsed().as_secs_f64(),
                        status.phase.describe()
                    ));
                }
            }
        }
    }

    /// Leaves the terminal to others.
    pub(crate) fn finish(&mut self) {
        if let Kind::Spinner(bar) = &self.kind {
            bar.finish_and_clear();
        }
        self.kind = Kind::Silent;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
