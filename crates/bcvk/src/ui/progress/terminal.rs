//! Progress line at a terminal, drawn again and again by a thread of its own.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bcvk_host::Activity;
use rustix::termios::tcgetwinsize;

use super::line::{Boot, TerminalStyle, line};
use crate::ui::say;

/// Interval between two drawings. A terminal that is resized is followed after at most that time.
const TICK: Duration = Duration::from_millis(100);

/// Columns of a terminal that does not say how many it has.
const USUAL_COLUMNS: usize = 80;

/// Erases from the cursor to the end of the screen (ECMA-48, 8.3.39).
const ERASE_BELOW: &str = "\u{1b}[J";

/// Turns off that a character after the last column begins a row (DECAWM). While a window is
/// dragged, the size that a terminal reports may lag behind its real size: tmux reports four a
/// second. A line that is too long must be cut then, because the cursor would otherwise rest in the
/// last of its rows.
const CUT_ROWS: &str = "\u{1b}[?7l";
/// See [`CUT_ROWS`].
const WRAP_ROWS: &str = "\u{1b}[?7h";

/// The line; dropped, it is gone.
///
/// The cursor rests at its beginning. So a terminal that is made narrower, and wraps the line, keeps
/// the cursor in the first of its rows, and all of them are erased by the next drawing. It is not
/// hidden: whatever may kill bcvk, nobody has to bring it back.
#[derive(Debug)]
pub(super) struct Terminal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    style: TerminalStyle,
}

#[derive(Debug)]
struct State {
    boot: Boot,
    /// Activity that waits for the thread, which reads it without holding the lock.
    console: Option<Activity>,
    over: bool,
}

impl Terminal {
    pub(super) fn start(style: TerminalStyle) -> Self {
        let now = Instant::now();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                boot: Boot {
                    phase: None,
                    since: now,
                    phase_since: now,
                    lead: Duration::ZERO,
                    last: None,
                },
                console: None,
                over: false,
            }),
            changed: Condvar::new(),
            style,
        });
        let draws = Arc::clone(&shared);
        Self {
            thread: Some(thread::spawn(move || draws.draw_until_over())),
            shared,
        }
    }

    pub(super) fn listen_to(&self, console: Activity) {
        self.shared.lock().console = Some(console);
    }

    pub(super) fn show(&self, boot: Boot) {
        let mut state = self.shared.lock();
        // The same state may come more than once.
        let phase_since = if state.boot.phase == boot.phase {
            state.boot.phase_since
        } else {
            boot.phase_since
        };
        state.boot = Boot {
            phase_since,
            ..boot
        };
        self.shared.changed.notify_one();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported there.
            let _ = thread.join();
        }
        say(&format!("\r{ERASE_BELOW}"));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw_until_over(&self) {
        let mut console: Option<Activity> = None;
        for tick in 0.. {
            let boot = {
                let mut state = self.lock();
                if state.over {
                    return;
                }
                if let Some(new) = state.console.take() {
                    console = Some(new);
                }
                state.boot.clone()
            };
            if let Some(console) = &mut console {
                console.look();
            }
            let awaited = console.as_ref().and_then(Activity::awaited);
            // In the last column, a terminal may take the next character into the next row.
            let columns = columns().saturating_sub(1);
            let text = line(&boot.at(Instant::now()), awaited, tick, columns, self.style);
            // The line is one write, and nothing is erased that is drawn again: so it does not flicker.
            say(&format!("{CUT_ROWS}\r{text}{ERASE_BELOW}\r{WRAP_ROWS}"));
            let state = self.lock();
            if !state.over {
                let wait = self.changed.wait_timeout(state, TICK);
                drop(wait.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

fn columns() -> usize {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => USUAL_COLUMNS,
    }
}
