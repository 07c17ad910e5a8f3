//! Output of a command and the way it ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// The end of a command. Every expectation that fails prints all of it.
#[must_use = "a result that nobody looks at tests nothing"]
#[derive(Debug, Clone)]
pub struct Output {
    pub(crate) shown: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) took: Duration,
}

impl Output {
    /// Fails the test unless the exit code was `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "the exit code of {self}");
        self
    }

    /// Fails the test unless the exit code was 0.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        self.expect_code(0)
    }

    /// Fails the test unless stderr has `text` somewhere.
    #[track_caller]
    pub fn expect_stderr(self, text: &str) -> Self {
        assert!(
            self.stderr().contains(text),
            "no {text:?} on the stderr of {self}"
        );
        self
    }

    /// Fails the test if stderr has `text` somewhere.
    #[track_caller]
    pub fn expect_no_stderr(self, text: &str) -> Self {
        assert!(
            !self.stderr().contains(text),
            "{text:?} on the stderr of {self}"
        );
        self
    }

    /// Fails the test unless stdout has `text` somewhere.
    #[track_caller]
    pub fn expect_stdout(self, text: &str) -> Self {
        assert!(
            self.stdout().contains(text),
            "no {text:?} on the stdout of {self}"
        );
        self
    }

    /// Fails the test unless nothing was printed on stdout.
    #[track_caller]
    pub fn expect_empty_stdout(self) -> Self {
        assert!(
            self.stdout.is_empty(),
            "nothing was to be on the stdout of {self}"
        );
        self
    }

    /// Fails the test unless this is an error as `docs/` promises them: `code`, a sentence with
    /// every one of `words`, a hint, nothing on stdout, and no trace of the program's insides.
    #[track_caller]
    pub fn expect_error(self, code: i32, words: &[&str]) -> Self {
        let mut output = self
            .expect_code(code)
            .expect_empty_stdout()
            .expect_stderr("error: ")
            .expect_no_stderr("panicked at")
            .expect_no_stderr("Os {")
            .expect_no_stderr("internal supervise");
        for word in words {
            output = output.expect_stderr(word);
        }
        output
    }

    /// Fails the test if the command took longer than `limit`.
    #[track_caller]
    pub fn expect_within(self, limit: Duration) -> Self {
        assert!(
            self.took <= limit,
            "took {:?}, more than {limit:?}: {self}",
            self.took
        );
        self
    }

    /// Returns the exit code; `None` if a signal ended the command.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Returns the exit code as a shell gives it: 128 and the signal's number if a signal ended the
    /// command.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        let signal = || 128 + self.status.signal().unwrap_or_default();
        self.status.code().unwrap_or_else(signal)
    }

    /// stdout as text.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// stderr as text.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// stdout as it came.
    #[must_use]
    pub fn stdout_bytes(&self) -> &[u8] {
        &self.stdout
    }

    /// stderr as it came.
    #[must_use]
    pub fn stderr_bytes(&self) -> &[u8] {
        &self.stderr
    }

    /// stdout without the white space around it.
    #[must_use]
    pub fn text(&self) -> String {
        self.stdout().trim().to_owned()
    }

    /// Returns how long the command ran.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no exit code".to_owned(),
        };
        writeln!(
            f,
            "`{}` ({end} after {:.1} s)",
            self.shown,
            self.took.as_secs_f64()
        )?;
        show_stream(f, "stdout", &self.stdout)?;
        show_stream(f, "stderr", &self.stderr)
    }
}

/// Shows text in full, unless it is so long that nobody would look for the end.
fn show_stream(f: &mut fmt::Formatter<'_>, name: &str, bytes: &[u8]) -> fmt::Result {
    const LONG: usize = 64 * 1024;
    writeln!(f, "--- {name} ({} bytes)", bytes.len())?;
    let shown = &bytes[..bytes.len().min(LONG)];
    writeln!(f, "{}", String::from_utf8_lossy(shown))
}
