//! The last lines of something that may say a lot.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::status::printable;

/// Lines kept for a failure's report.
const LINES: usize = 30;

/// Characters of a line that are kept.
const LINE: usize = 1024;

/// The last lines, shared between their reader and the main loop.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// The last lines, oldest first, without control characters.
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Adds a line, unless it is blank.
    pub(super) fn push(&self, line: &str) {
        let line: String = printable(line).chars().take(LINE).collect();
        if line.trim().is_empty() {
            return;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}
