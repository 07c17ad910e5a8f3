//! Activity of a guest that boots, as its console tells.

use std::io::Read;

use bcvk_contract::status::printable;

use crate::follow::log::GuestLog;
use crate::vm::dir::VmDir;

/// Longest part of a line that is read. Names of units are at most 255 bytes (`systemd.unit(5)`).
const MAX_LINE_BYTES: usize = 1024;

/// Most units that are remembered to be starting. systemd starts fewer at once, but a guest may print
/// anything.
const MAX_STARTING: usize = 64;

/// Most bytes that are read at one look, because a guest may write faster than anybody reads.
const MAX_LOOK_BYTES: u64 = 1 << 20;

/// Beginnings of systemd's line about a job that has begun (`unit_status_printf` and its callers).
const BEGINS: [&str; 5] = [
    "Starting ",
    "Mounting ",
    "Activating swap ",
    "Reloading ",
    "Setting up ",
];

/// Beginnings of systemd's line about a job that is over, after `[  OK  ]` and the like.
const ENDS: [&str; 14] = [
    "Started ",
    "Finished ",
    "Mounted ",
    "Activated swap ",
    "Reloaded ",
    "Set up ",
    "Reached target ",
    "Listening on ",
    "Found device ",
    "Timed out waiting for device ",
    "Failed to start ",
    "Failed to mount ",
    "Failed to activate swap ",
    "Dependency failed for ",
];

/// A guest's console while it boots.
#[derive(Debug)]
pub struct Activity {
    log: GuestLog,
    progress: ConsoleProgress,
}

impl Activity {
    /// Returns the activity of the VM in `dir`, which need not have printed anything yet.
    #[must_use]
    pub fn of(dir: &VmDir) -> Self {
        Self {
            log: GuestLog::console(dir),
            progress: ConsoleProgress::default(),
        }
    }

    /// Reads the output since the last look. A console that cannot be read changes nothing: the
    /// activity is only to be shown.
    pub fn look(&mut self) {
        let mut text = Vec::new();
        let _ = self
            .log
            .by_ref()
            .take(MAX_LOOK_BYTES)
            .read_to_end(&mut text);
        self.progress.feed(&text);
    }

    /// Returns what the guest waits for at the moment, or else its last line. The text is safe to
    /// print.
    #[must_use]
    pub fn awaited(&self) -> Option<&str> {
        self.progress.awaited()
    }

    /// Returns the units that the VM in `dir` is starting, by the whole of its console that was kept.
    pub(crate) fn starting(dir: &VmDir) -> Vec<String> {
        let mut log = GuestLog::console(dir);
        let mut progress = ConsoleProgress::default();
        let mut buffer = vec![0; 64 * 1024];
        let mut left = log.length().unwrap_or_default();
        while left > 0 {
            let Ok(length @ 1..) = log.read(&mut buffer) else {
                break;
            };
            progress.feed(&buffer[..length]);
            left = left.saturating_sub(length as u64);
        }
        progress.starting
    }
}

/// Progress of a boot, as the lines of a console show it.
#[derive(Debug, Default)]
pub(crate) struct ConsoleProgress {
    line: Vec<u8>,
    /// Units whose start has begun and is not over, the last one last.
    starting: Vec<String>,
    /// The last line that does not begin a unit's start.
    said: String,
}

impl ConsoleProgress {
    /// Takes in the next piece, which need not end where a line does.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // systemd's line about jobs that take long ends in carriage returns.
            if matches!(byte, b'\n' | b'\r') {
                let line = printable(&String::from_utf8_lossy(&self.line));
                self.line.clear();
                self.take_in(line.trim());
            } else if self.line.len() < MAX_LINE_BYTES {
                self.line.push(byte);
            }
        }
    }

    pub(crate) fn awaited(&self) -> Option<&str> {
        let said = Some(&self.said).filter(|said| !said.is_empty());
        self.starting.last().or(said).map(String::as_str)
    }

    fn take_in(&mut self, line: &str) {
        let (result, text) = bracketed(line).map_or((None, line), |(b, text)| (Some(b), text));
        if let Some(unit) = running_job(text) {
            // This job is what systemd waits for, whatever has begun after it. Its name may be cut.
            let mut known = self.starting.iter();
            let known = known.find(|known| known.starts_with(unit)).cloned();
            self.begin(&known.unwrap_or_else(|| unit.to_owned()));
        } else if let Some(unit) = after(text, &BEGINS) {
            self.begin(unit);
        } else if let Some(unit) = result.and_then(|_| after(text, &ENDS)) {
            self.starting.retain(|known| known != unit);
            text.clone_into(&mut self.said);
        } else if text.starts_with("Welcome to ") {
            // Another systemd has begun. It knows nothing of what the initramfs's systemd was
            // starting.
            self.starting.clear();
        } else if !text.is_empty() {
            text.clone_into(&mut self.said);
        }
    }

    fn begin(&mut self, unit: &str) {
        self.starting.retain(|known| known != unit);
        if self.starting.len() == MAX_STARTING {
            self.starting.remove(0);
        }
        self.starting.push(unit.to_owned());
    }
}

/// Splits a line that begins with brackets into their content (a time stamp, `  OK  `, asterisks that
/// move) and the rest.
fn bracketed(line: &str) -> Option<(&str, &str)> {
    let (inner, text) = line.strip_prefix('[')?.split_once(']')?;
    let known = inner
        .bytes()
        .all(|b| b.is_ascii_digit() || b" .*".contains(&b))
        || ["OK", "FAILED", "DEPEND", "TIME", "INFO", "SKIP"].contains(&inner.trim());
    known.then(|| (inner, text.trim()))
}

/// Finds the unit of `(1 of 4) Job UNIT/start running (44s / 1min 30s)`, or of the same in the words
/// of older versions: `A start job is running for UNIT (44s / 1min 30s)`.
fn running_job(text: &str) -> Option<&str> {
    let text = match text.strip_prefix('(') {
        Some(rest) => rest.split_once(") ")?.1,
        None => text,
    };
    if let Some(rest) = text.strip_prefix("A start job is running for ") {
        return Some(unit(rest.rsplit_once(" (").map_or(rest, |(name, _)| name)));
    }
    let (name, _) = text.strip_prefix("Job ")?.split_once(" running (")?;
    // If the line is too long, systemd leaves out the middle of these words.
    let name = name.split_once('/').map_or(name, |(name, _)| name);
    Some(name.split_once('…').map_or(name, |(name, _)| name))
}

/// Returns the unit of a line that begins with one of `words`.
fn after<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    let rest = words.iter().find_map(|words| text.strip_prefix(words))?;
    let unit = unit(rest);
    (!unit.is_empty()).then_some(unit)
}

/// Returns `ssh.service` of `ssh.service - OpenBSD Secure Shell server...`. A distribution may show
/// descriptions alone (`StatusUnitFormat=` in `systemd-system.conf(5)`); then it returns the
/// description.
fn unit(text: &str) -> &str {
    let name = text.split_once(" - ").map_or(text, |(name, _)| name);
    name.trim_end_matches(['.', '…'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(text: &str) -> ConsoleProgress {
        let mut progress = ConsoleProgress::default();
        progress.feed(text.as_bytes());
        progress
    }

    #[test]
    fn what_is_awaited_is_what_began_last_and_is_not_over() {
        for (console, awaited) in [
            ("", None),
            (
                "[    1.010325] Performance Events: none\r\n",
                Some("Performance Events: none"),
            ),
            (
                "         Starting \u{1b}[0;1;39mssh.service\u{1b}[0m - OpenBSD Secure Shell server...\r\n\
                 [\u{1b}[0;32m  OK  \u{1b}[0m] Reached target getty.target - Login Prompts.\r\n",
                Some("ssh.service"),
            ),
            (
                "Starting a.service - A...\nStarting b.service - B...\n[  OK  ] Started b.service - B.\n",
                Some("a.service"),
            ),
            (
                "Starting a.service - A...\n[FAILED] Failed to start a.service - A.\n\
                 [   12.5] virtio_net: renamed\n",
                Some("virtio_net: renamed"),
            ),
            // RHEL's systemd prints it like this.
            (
                "         Starting OpenSSH server daemon...\r\n",
                Some("OpenSSH server daemon"),
            ),
            (
                "Starting a.service - A...\nWelcome to Debian GNU/Linux 13!\nboot\n",
                Some("boot"),
            ),
            // systemd 257 prints it like this on the serial port.
            (
                "Starting a.service - A...\n\u{1b}[M\r\r\u{1b}[K[ \u{1b}[0;31m*\u{1b}[0m ] (2 of 2) Job \
                 systemd-networkd.service/start running (59s / 2min 9s)\r\r\n",
                Some("systemd-networkd.service"),
            ),
            (
                "Starting systemd-networkd.service - Network...\nStarting b.service - B...\n\u{1b}M\r\r\
                 [***   ] (1 of 3) Job systemd-networkd.servi…tart running (3min 12s / 4min\r\r\n",
                Some("systemd-networkd.service"),
            ),
            (
                "[***   ] A start job is running for /dev/vdb (12s / 1min 30s)\r",
                Some("/dev/vdb"),
            ),
            ("not ended", None),
        ] {
            assert_eq!(progress(console).awaited(), awaited, "{console:?}");
        }
    }

    #[test]
    fn a_guest_cannot_fill_the_memory() {
        let mut progress = ConsoleProgress::default();
        progress.feed(&[b'x'; 3 * MAX_LINE_BYTES]);
        progress.feed(b"\n");
        assert_eq!(progress.said.len(), MAX_LINE_BYTES);
        for number in 0..1000 {
            progress.feed(format!("Starting {number}.service - x\n").as_bytes());
        }
        assert_eq!(progress.starting.len(), MAX_STARTING);
        assert_eq!(progress.awaited(), Some("999.service"));
    }

    #[test]
    fn all_that_is_kept_of_the_console_tells_what_was_starting() {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let dir = VmDir::at(tmp.path());
        let paths = dir.shared().paths().clone();
        std::fs::create_dir(paths.dir()).expect("made");
        assert!(Activity::starting(&dir).is_empty());
        let mut activity = Activity::of(&dir);
        activity.look();
        assert_eq!(activity.awaited(), None);
        std::fs::write(
            paths.console_log(),
            "Starting a.service - A...\nStarting b.mount\n",
        )
        .expect("write");
        assert_eq!(Activity::starting(&dir), ["a.service", "b.mount"]);
        activity.look();
        assert_eq!(activity.awaited(), Some("b.mount"));
    }
}
