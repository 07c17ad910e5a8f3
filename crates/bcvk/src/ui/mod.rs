//! Everything that the user sees: results on stdout, everything else on stderr.

mod chart;
mod events;
mod findings;
mod guest;
mod health;
mod notice;
mod progress;
mod xml;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use bcvk_contract::status::{Status, printable, steers};
use bcvk_host::Launch;
use bcvk_host::podman::Podman;
use bcvk_host::shell;
use bcvk_supervisor::qemu_args_for_display;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::error::CommandError;

pub(crate) use chart::Chart;
#[cfg(test)]
pub(crate) use events::Line;
pub(crate) use events::{Event, Events, Image, OutputEvents, OutputStream};
pub(crate) use findings::{Finding, Severity};
pub(crate) use guest::GuestOutput;
#[cfg(test)]
pub(crate) use health::Description;
pub(crate) use health::{Judged, Verdict};
pub(crate) use notice::Notice;
pub(crate) use progress::Progress;

/// Settings of how much is said, and where.
#[derive(Debug)]
pub(crate) struct Ui {
    quiet: bool,
    verbose: u8,
    events: OnceLock<Arc<Events>>,
}

impl Ui {
    pub(crate) fn new(quiet: bool, verbose: u8) -> Self {
        Self {
            quiet,
            verbose,
            events: OnceLock::new(),
        }
    }

    /// Begins to tell programs what happens.
    pub(crate) fn begin_events(&self) {
        self.events.get_or_init(|| Arc::new(Events::begin()));
    }

    /// Returns where events go for programs, if any program wants them.
    pub(crate) fn events(&self) -> Option<&Arc<Events>> {
        self.events.get()
    }

    /// Tells programs what has become of the VM.
    pub(crate) fn follow(&self, status: &Status) {
        if let Some(events) = self.events() {
            events.follow(status);
        }
    }

    pub(crate) fn quiet(&self) -> bool {
        self.quiet
    }

    /// Sends the log to stderr: warnings, more with `--verbose`.
    pub(crate) fn start_logging(&self) {
        let level = match self.verbose {
            0 => tracing::Level::WARN,
            1 => tracing::Level::INFO,
            _ => tracing::Level::DEBUG,
        };
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(io::stderr)
            .with_target(false)
            .without_time()
            .init();
    }

    /// Prints what was asked for.
    #[allow(clippy::unused_self, reason = "one way to say each kind of thing")]
    pub(crate) fn result(&self, text: &str) {
        print(&format!("{text}\n"));
    }

    /// Prints a result for programs.
    #[allow(clippy::unused_self, reason = "one way to say each kind of thing")]
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), CommandError> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| CommandError::io("print JSON")(e.into()))?;
        print(&format!("{}\n", harmless(&text)));
        Ok(())
    }

    /// Prints what was found of the host.
    #[allow(clippy::unused_self, reason = "one way to say each kind of thing")]
    pub(crate) fn findings(&self, findings: &[Finding]) {
        print(&findings::text(findings));
    }

    /// Prints something worth knowing that is not what was asked for.
    pub(crate) fn notice(&self, notice: &dyn fmt::Display) {
        if !self.quiet {
            say(&format!("bcvk: {notice}\n"));
        }
    }

    /// Prints something that may come as a surprise later.
    pub(crate) fn warning(&self, warning: &dyn fmt::Display) {
        self.notice(warning);
        if let Some(events) = self.events() {
            let message = warning.to_string();
            events.tell(Event::Warning { message });
        }
    }

    /// Prints the warnings of the VM's supervisor.
    pub(crate) fn warnings(&self, warnings: &[String]) {
        for warning in warnings {
            self.warning(&printable(warning));
        }
    }

    /// Makes the line about the boot; it is silent unless `wanted`.
    pub(crate) fn progress(&self, wanted: bool) -> Progress {
        if self.quiet || !wanted {
            Progress::silent()
        } else {
            Progress::on_stderr()
        }
    }

    /// Asks for a yes; returns `None` if nobody could answer.
    #[allow(clippy::unused_self, reason = "one way to say each kind of thing")]
    pub(crate) fn confirm(&self, question: &str) -> Option<bool> {
        if !io::stdin().is_terminal() {
            return None;
        }
        say(&format!("{question} [y/N] "));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).ok()?;
        Some(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// Prints the command lines that a start would run.
    #[allow(clippy::unused_self, reason = "one way to say each kind of thing")]
    pub(crate) fn print_plan(&self, podman: &Podman, launch: &Launch) {
        let line = |program: OsString, args: Vec<OsString>| {
            let words: Vec<String> = std::iter::once(program)
                .chain(args)
                .map(|word| shell::quote(&word.to_string_lossy()))
                .collect();
            format!("{}\n", words.join(" "))
        };
        print(&line(podman.program().into(), launch.podman_args()));
        print(&line(
            launch.spec.qemu.clone().into(),
            qemu_args_for_display(&launch.spec),
        ));
    }

    /// Says what went wrong and what to do; returns the exit code for it.
    pub(crate) fn report(&self, error: &CommandError) -> ExitCode {
        say(&error.report());
        let exit_code = error.exit_code();
        if let Some(events) = self.events() {
            events.fail(error);
            events.tell(Event::Ended {
                exit_code,
                running: false,
            });
        }
        ExitCode::from(exit_code)
    }
}

/// Prints a result. A reader that has gone away (`bcvk … | head`) is no error.
pub(crate) fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Returns the columns of the terminal that results go to; 80 where they go elsewhere.
pub(crate) fn width() -> usize {
    /// Width that terminals have had since there were any.
    const USUAL: usize = 80;
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.map_or(USUAL, |size| match size.ws_col {
        0 => USUAL,
        columns => columns.into(),
    })
}

/// Prints something that is not a result.
pub(crate) fn say(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Lays out columns under headings, as podman prints them.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text: String = table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    if text.is_empty() {
        text = headings.join("  ");
    }
    text
}

/// Escapes in JSON what a terminal would obey, even if JSON allows it as it is, and the mark by which
/// GitHub's runner knows commands in a log (actions/runner, `ActionCommand.cs`): some of the text is a
/// guest's. The line feeds are the JSON's own layout.
fn harmless(json: &str) -> String {
    use std::fmt::Write as _;

    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) && c != '\n' {
            // Writing into a String cannot fail. All characters that steer are in the basic plane.
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text.replace("##[", "##\\u005b")
}

/// Writes bytes as podman shows them: `1.3 GB`.
pub(crate) fn size(bytes: u64) -> String {
    let tenths = |unit: u64| (bytes + unit / 20) / (unit / 10);
    for (unit, name) in [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")] {
        let tenths = tenths(unit);
        if tenths >= 10 {
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// Says how long ago something was, in one unit.
pub(crate) fn age(seconds: u64) -> String {
    const DAY: u64 = 24 * 3600;
    for (unit, name) in [
        (365 * DAY, "year"),
        (30 * DAY, "month"),
        (7 * DAY, "week"),
        (DAY, "day"),
        (3600, "hour"),
        (60, "minute"),
    ] {
        match seconds / unit {
            0 => {}
            1 => return format!("1 {name} ago"),
            n => return format!("{n} {name}s ago"),
        }
    }
    "less than a minute ago".to_owned()
}

/// Writes whole seconds as `42s`, `3m 5s`, `2h 7m`.
pub(crate) fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (185, "3m 5s"), (7620, "2h 7m")] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn sizes_and_ages_are_round() {
        for (bytes, text) in [
            (940, "940 B"),
            (1_499, "1.5 kB"),
            (999_950, "1.0 MB"),
            (200_113_028, "200.1 MB"),
            (1_260_000_000, "1.3 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (seconds, text) in [
            (3, "less than a minute ago"),
            (60, "1 minute ago"),
            (7199, "1 hour ago"),
            (15 * 86400, "2 weeks ago"),
            (800 * 86400, "2 years ago"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn json_has_no_control_characters() {
        let json = serde_json::to_string_pretty(&["a\u{9b}b\u{1b}ä\u{202e}"]).expect("serialise");
        assert_eq!(harmless(&json), "[\n  \"a\\u009bb\\u001bä\\u202e\"\n]");
        assert_eq!(harmless("\"##[error]\""), "\"##\\u005berror]\"");
    }

    #[test]
    fn tables_have_no_trailing_space_and_no_escapes() {
        let text = table(
            &["NAME", "STATE"],
            [vec!["\u{1b}[31mred".to_owned(), "ready".to_owned()]],
        );
        assert_eq!(text, "NAME  STATE\nred   ready\n");
    }
}
