//! Times of a boot as the guest's own systemd reports them.

use std::time::Duration;

use bcvk_testkit::drive::error::{Error, Result};

/// Durations of the parts of a boot by the guest's clock, as `systemd-analyze` divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BootTimes {
    pub(super) kernel: Duration,
    pub(super) initrd: Duration,
    /// Duration to the end of the boot's last job, which may be after sshd answers.
    pub(super) userspace: Duration,
}

impl BootTimes {
    /// A shell command that waits for the boot's end and prints the times.
    pub(super) const QUESTION: &str = "systemctl is-system-running --wait >/dev/null; \
        systemctl show -p InitRDTimestampMonotonic -p UserspaceTimestampMonotonic \
        -p FinishTimestampMonotonic";

    /// Parses the answer to [`QUESTION`].
    pub(super) fn parse(answer: &str) -> Result<Self> {
        let at = |name: &str| {
            answer
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix("TimestampMonotonic="))
                .and_then(|micros| micros.parse().ok())
                .filter(|micros| *micros > 0)
                .map(Duration::from_micros)
                .ok_or_else(|| Error::other(format!("systemd does not say when {name} was")))
        };
        let (initrd, userspace, finish) = (at("InitRD")?, at("Userspace")?, at("Finish")?);
        Ok(Self {
            kernel: initrd,
            initrd: userspace.saturating_sub(initrd),
            userspace: finish.saturating_sub(userspace),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_to_the_boot() {
        let answer = "UserspaceTimestampMonotonic=9000000\nInitRDTimestampMonotonic=3300000\n\
                      FinishTimestampMonotonic=21500000\n";
        let times = BootTimes::parse(answer).expect("parse");
        let parts = [times.kernel, times.initrd, times.userspace];
        assert_eq!(parts.map(|d| d.as_millis()), [3300, 5700, 12500]);
        assert!(BootTimes::parse("FinishTimestampMonotonic=0\n").is_err());
    }
}
