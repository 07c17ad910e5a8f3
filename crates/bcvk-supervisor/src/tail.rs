//! The last lines of a long output.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bcvk_contract::status::printable;

/// Number of lines that are kept for a failure's report.
const LINES: usize = 30;

/// Most characters of a line that are kept.
const LINE: usize = 1024;

/// The last lines, shared between their reader and the main loop.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// Returns the last lines, oldest first, without control characters.
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Adds a line, unless it is blank. The line replaces the last one if that moves.
    pub(super) fn push(&self, line: &str) {
        let line: String = printable(line).chars().take(LINE).collect();
        if line.trim().is_empty() {
            return;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.back().is_some_and(|last| moves(last)) {
            lines.pop_back();
        }
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Returns true for systemd's line about a job that takes long. systemd writes that line anew each
/// second, over the last one at a terminal, and the repetitions would leave no space for earlier
/// lines.
fn moves(line: &str) -> bool {
    let stars = line.trim_start().strip_prefix('[');
    let stars = stars.and_then(|rest| rest.split_once(']'));
    stars.is_some_and(|(stars, _)| stars.contains('*') && stars.chars().all(|c| " *".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_line_that_moves_the_last_is_kept_and_only_until_another_follows() {
        let tail = Tail::default();
        tail.push("Kernel panic, almost");
        for seconds in 0..40 {
            tail.push(&format!(
                "[ ***  ] Job x.service/start running ({seconds}s)\r"
            ));
        }
        let moving = "[ ***  ] Job x.service/start running (39s)";
        assert_eq!(tail.lines(), ["Kernel panic, almost", moving]);
        tail.push("[  OK  ] Started x.service.");
        assert_eq!(
            tail.lines(),
            ["Kernel panic, almost", "[  OK  ] Started x.service."]
        );
    }

    #[test]
    fn the_last_lines_are_kept() {
        let tail = Tail::default();
        for number in 0..100 {
            tail.push(&number.to_string());
            tail.push(" \r");
        }
        assert_eq!(tail.lines().len(), LINES);
        assert_eq!(tail.lines()[0], "70");
    }
}
