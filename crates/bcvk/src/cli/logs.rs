//! `logs`.

use std::str::FromStr;

use bcvk_contract::spec::Timeout;
use clap::Args;

use super::common::VmRefs;

/// Show the console or the journal of ephemeral VMs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral logs testvm
  bcvk ephemeral logs -f --tail 20 testvm
  bcvk ephemeral logs --journal --since 10m testvm | grep sshd")]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) vms: VmRefs,

    /// Go on until the VM ends
    ///
    /// After what there is, what comes is shown. Ctrl-C ends the command before. What a guest writes
    /// into its journal while it shuts down is not seen: its sessions are over by then. It is on the
    /// console. Only one VM can be followed.
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Show the serial console (the default)
    #[arg(long, conflicts_with = "journal")]
    pub(crate) console: bool,

    /// Show the journal of this boot, over SSH
    #[arg(long)]
    pub(crate) journal: bool,

    /// Show the last N lines only, or all
    #[arg(
        long,
        value_name = "N",
        default_value = "all",
        allow_hyphen_values = true
    )]
    pub(crate) tail: Tail,

    /// Show what the journal has since TIME
    ///
    /// TIME is how long ago, such as 90s, 10m or 1h30m, seconds since the Unix epoch, or a date and
    /// time of UTC, such as `2026-01-31` or `2026-01-31T12:30:00Z`, by the guest's clock. It is for
    /// **--journal**: lines of the console have no time.
    #[arg(long, value_name = "TIME", requires = "journal")]
    pub(crate) since: Option<Since>,
}

/// Lines at the end of a log that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    All,
    Lines(u32),
}

/// A value of `--tail` that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no number of lines: give one, or all")]
pub(crate) struct TailError(String);

impl FromStr for Tail {
    type Err = TailError;

    fn from_str(value: &str) -> Result<Self, TailError> {
        match value {
            // podman's own default is -1.
            "all" | "-1" => Ok(Self::All),
            _ => value
                .parse()
                .map(Self::Lines)
                .map_err(|_| TailError(value.to_owned())),
        }
    }
}

/// Time from which on a journal is wanted, as `journalctl --since` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Since(String);

/// A value of `--since` that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no time: give how long ago, such as 10m, or a time of UTC such as 2026-01-31T12:30:00Z"
)]
pub(crate) struct SinceError(String);

impl Since {
    /// Returns journalctl's word for it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Since {
    type Err = SinceError;

    fn from_str(value: &str) -> Result<Self, SinceError> {
        /// Numbers from here on are times and not spans: the first days of 1970, and ten days.
        const EPOCH: u64 = 1_000_000;
        let time = match (value.parse::<u64>(), value.parse::<Timeout>()) {
            (Ok(seconds), _) if seconds >= EPOCH => format!("@{seconds}"),
            (_, Ok(span)) => format!("-{:.3}s", span.duration().as_secs_f64()),
            (_, Err(_)) => date(value).ok_or_else(|| SinceError(value.to_owned()))?,
        };
        Ok(Self(time))
    }
}

/// Writes a date of RFC 3339 as systemd.time(7) has it.
fn date(value: &str) -> Option<String> {
    let fits = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(byte, of)| match of {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    let (date, time) = match value.split_once(['T', ' ']) {
        Some((date, time)) => (date, time.strip_suffix('Z').unwrap_or(time)),
        None => (value, "00:00:00"),
    };
    (fits(date, "0000-00-00") && fits(time, "00:00:00")).then(|| format!("{date} {time} UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_journalctls() {
        for (value, expected) in [
            ("90s", "-90.000s"),
            ("1h30m", "-5400.000s"),
            ("300", "-300.000s"),
            ("1700000000", "@1700000000"),
            ("2026-01-31", "2026-01-31 00:00:00 UTC"),
            ("2026-01-31T12:30:00Z", "2026-01-31 12:30:00 UTC"),
            ("2026-01-31 12:30:00", "2026-01-31 12:30:00 UTC"),
        ] {
            let since: Since = value.parse().expect(value);
            assert_eq!(since.as_str(), expected, "{value}");
        }
        for value in [
            "",
            "yesterday",
            "2026-1-31",
            "2026-01-31T12:30:00+02:00",
            "-5m",
        ] {
            assert_eq!(value.parse::<Since>(), Err(SinceError(value.to_owned())));
        }
    }

    #[test]
    fn tails_are_podmans() {
        for (value, expected) in [
            ("all", Ok(Tail::All)),
            ("-1", Ok(Tail::All)),
            ("0", Ok(Tail::Lines(0))),
            ("20", Ok(Tail::Lines(20))),
            ("-2", Err(TailError("-2".into()))),
            ("x", Err(TailError("x".into()))),
        ] {
            assert_eq!(value.parse::<Tail>(), expected, "{value}");
        }
    }
}
