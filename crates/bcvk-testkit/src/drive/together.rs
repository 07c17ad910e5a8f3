//! One command for each of several VMs, all at once.

use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

use super::error::{Error, Result};
use super::process::{Running, scratch, text, writer};

/// Interval between two looks at the children.
const LOOK: Duration = Duration::from_millis(10);

/// A command for one of the VMs.
pub struct Member {
    /// Name of its VM.
    pub name: String,
    running: Running,
    stdout: File,
    stderr: File,
    /// Stdout of the command, or the reason why there is none, and after which time.
    pub outcome: Option<(std::result::Result<String, String>, Duration)>,
}

/// Runs a command for each name, all at once. A command that still runs at the limit is an error.
pub fn all(
    names: &[String],
    command: impl Fn(&str) -> Command,
    started: Instant,
    limit: Duration,
) -> Result<Vec<Member>> {
    let mut members = names
        .iter()
        .map(|name| Member::start(name, command(name)))
        .collect::<Result<Vec<_>>>()?;
    while members.iter().any(|member| member.outcome.is_none()) {
        super::interrupt::check()?;
        if started.elapsed() > limit {
            return Err(Error::other(format!(
                "not done after {} s",
                limit.as_secs()
            )));
        }
        for member in &mut members {
            member.look(started)?;
        }
    }
    Ok(members)
}

impl Member {
    fn start(name: &str, mut command: Command) -> Result<Self> {
        let (stdout, stderr) = (scratch()?, scratch()?);
        command
            .stdin(std::process::Stdio::null())
            .stdout(writer(&stdout)?)
            .stderr(writer(&stderr)?);
        Ok(Self {
            name: name.to_owned(),
            running: Running::start(&mut command)?,
            stdout,
            stderr,
            outcome: None,
        })
    }

    fn look(&mut self, started: Instant) -> Result<()> {
        if self.outcome.is_some() {
            return Ok(());
        }
        if let Some(status) = self.running.poll(LOOK)? {
            let result = if status.success() {
                Ok(text(&self.stdout).trim().to_owned())
            } else {
                Err(format!("{status}: {}", text(&self.stderr).trim()))
            };
            self.outcome = Some((result, started.elapsed()));
        }
        Ok(())
    }

    /// Standard output, if the command has succeeded.
    #[must_use]
    pub fn output(&self) -> Option<&str> {
        let (result, _) = self.outcome.as_ref()?;
        result.as_ref().ok().map(String::as_str)
    }

    /// The reason of its failure, if it has failed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let (result, _) = self.outcome.as_ref()?;
        result.as_ref().err().map(String::as_str)
    }
}

/// Returns the names and outputs of the commands that succeeded.
#[must_use]
pub fn outputs(members: &[Member]) -> Vec<(&str, &str)> {
    members
        .iter()
        .filter_map(|member| Some((member.name.as_str(), member.output()?)))
        .collect()
}
