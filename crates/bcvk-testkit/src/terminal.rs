//! A terminal that can be looked at: tmux, which keeps a screen, wraps lines anew when it is resized,
//! and shows what is on it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cmd::Cmd;
use crate::limit;
use crate::sandbox::Sandbox;
use crate::wait::within;

/// Number of lines of the screen.
const ROWS: &str = "24";

/// A terminal in which a shell script runs.
#[derive(Debug)]
pub struct Terminal<'a> {
    sandbox: &'a Sandbox,
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    /// Runs `script` at a terminal of that many columns. The environment is that of `command`, whose
    /// program and arguments are `"$@"` in the script.
    #[must_use]
    #[track_caller]
    pub fn run(sandbox: &'a Sandbox, columns: u16, script: &str, command: Cmd) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let terminal = Self {
            sandbox,
            socket: sandbox.path().join(format!("tmux-{number}")),
        };
        let options = ["-x", &columns.to_string(), "-y", ROWS];
        let server = command.in_tmux(&terminal.socket, &options, script);
        let _ = server.run().expect_success();
        let _ = terminal.tmux(&["set-option", "-g", "status", "off"]);
        // Without the status line, the screen has one row more.
        terminal.resize(columns);
        terminal
    }

    /// Returns the text that is on the screen or has scrolled away: its lines without blanks at
    /// their ends, and without empty ones before and after them. (tmux scrolls when a line needs
    /// more rows in a narrower terminal, also where rows below are empty.)
    #[must_use]
    #[track_caller]
    pub fn screen(&self) -> String {
        let text = self.tmux(&["capture-pane", "-p", "-S", "-"]);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.join("\n").trim_matches('\n').to_owned()
    }

    /// Returns that text with the escape sequences that make it look as it does.
    #[must_use]
    #[track_caller]
    pub fn styled_screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e", "-S", "-"])
    }

    /// Waits until the screen is as `is` wants it; returns it.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "to wait may be all")]
    pub fn await_screen(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = within(limit::QUICK, || {
            last = self.screen();
            is(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("waited in vain: {what}; on the screen:\n{last}"))
    }

    /// Returns true if the cursor is shown.
    #[must_use]
    #[track_caller]
    pub fn shows_cursor(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{cursor_flag}"])
            .trim()
            == "1"
    }

    /// Makes the terminal wider or narrower.
    #[track_caller]
    pub fn resize(&self, columns: u16) {
        let columns = columns.to_string();
        let _ = self.tmux(&["resize-window", "-x", &columns, "-y", ROWS]);
    }

    /// Presses keys, as tmux names them (`C-c`, `Enter`).
    #[track_caller]
    pub fn press(&self, keys: &[&str]) {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        let _ = self.tmux(&args);
    }

    /// Closes the terminal.
    pub fn close(self) {
        drop(self);
    }

    #[track_caller]
    fn tmux(&self, args: &[&str]) -> String {
        self.client(args).run().expect_success().stdout()
    }

    fn client(&self, args: &[&str]) -> Cmd {
        self.sandbox
            .command("tmux")
            .args(["-u", "-S"])
            .arg(&self.socket)
            .args(args)
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // The server is gone already if the script has ended.
        let _ = self.client(&["kill-server"]).run();
    }
}
