//! Findings of `bcvk doctor`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::error::CommandError;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Nothing need be done.
    Ok,
    /// VMs run, but something is slower or missing.
    Warning,
    /// No VM runs.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Finding {
    /// Subject of the check.
    check: &'static str,
    #[serde(rename = "Status")]
    pub(crate) severity: Severity,
    /// Result of the check.
    message: String,
    /// Causes of the result, outermost first.
    causes: Vec<String>,
    /// Advice that mends it, if it is known.
    hint: Option<String>,
}

impl Finding {
    /// Reports what is there.
    pub(crate) fn ok(check: &'static str, message: String) -> Self {
        Self {
            check,
            severity: Severity::Ok,
            message,
            causes: Vec::new(),
            hint: None,
        }
    }

    /// Reports what is there, or the error that a VM would meet.
    pub(crate) fn of(check: &'static str, found: Result<String, impl Into<CommandError>>) -> Self {
        match found {
            Ok(message) => Self::ok(check, message),
            Err(error) => {
                let error = error.into();
                Self {
                    check,
                    severity: Severity::Error,
                    message: error.to_string(),
                    causes: error.words.causes,
                    hint: error.hints.into_iter().next(),
                }
            }
        }
    }

    /// Reports something that is there, but should be better.
    pub(crate) fn warning(check: &'static str, message: String, hint: Option<String>) -> Self {
        Self {
            check,
            severity: Severity::Warning,
            message,
            causes: Vec::new(),
            hint,
        }
    }

    /// Lowers an error to a warning, because all that comes of it is `consequence`.
    pub(crate) fn at_most_a_warning(self, consequence: &str) -> Self {
        if self.severity == Severity::Ok {
            return self;
        }
        Self {
            severity: Severity::Warning,
            message: format!("{}: {consequence}", self.message),
            ..self
        }
    }
}

/// Writes a line for each finding, with what to do below it.
pub(super) fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|f| f.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let severity = match finding.severity {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{severity:<7}  {:<width$}  {}",
            finding.check, finding.message
        );
        for cause in &finding.causes {
            let _ = writeln!(text, "{:9}caused by: {cause}", "");
        }
        if let Some(hint) = &finding.hint {
            let _ = writeln!(text, "{:9}hint: {hint}", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use bcvk_host::{HostError, Tool};

    use super::*;

    #[test]
    fn each_finding_says_what_to_do() {
        let findings = [
            Finding::ok("podman", "4.3, /usr/bin/podman".to_owned()),
            Finding::of("ssh", Err(HostError::QemuOutsideUsr("/opt/qemu".into()))),
            Finding::of("qemu-img", Err(HostError::ToolMissing(Tool::Podman)))
                .at_most_a_warning("no disks"),
            Finding::ok("fine", "there".to_owned()).at_most_a_warning("no disks"),
        ];
        let text = text(&findings);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ok       podman    4.3, /usr/bin/podman");
        assert!(
            lines[1].starts_with("error    ssh       QEMU at /opt/qemu"),
            "{text}"
        );
        assert!(lines[2].starts_with("         hint: install"), "{text}");
        assert_eq!(
            lines[3],
            "warning  qemu-img  podman is not installed: no disks"
        );
        assert!(lines[4].contains("hint: install it: "), "{text}");
        assert_eq!(lines[5], "ok       fine      there");
    }
}
