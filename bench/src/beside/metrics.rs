//! Everything that is measured, by name, and what was seen.

use std::collections::BTreeMap;
use std::time::Duration;

use super::guest::BootTimes;

/// A number that is measured once or several times. The order is that of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "`describe` says what each is")]
pub(super) enum Metric {
    FloorBanner,
    FloorFirstSsh,
    RunSsh,
    RunContainer,
    RunQemu,
    RunKernel,
    RunInitrd,
    RunUserspace,
    RunBanner,
    RunCommand,
    RunTornDown,
    RunToQemu,
    RunNothingLeft,
    RunDirect,
    RunSaved,
    RunResumed,
    RunRebuilt,
    BuildAndRun,
    RunUnit,
    Detached,
    DetachedAfterQemu,
    FurtherSsh,
    FloorGuestKernel,
    FloorGuestInitrd,
    FloorGuestUserspace,
    GuestKernel,
    GuestInitrd,
    GuestUserspace,
    CliPeak,
    SupervisorPss,
    SupervisorAnon,
    SupervisorFile,
    SupervisorShmem,
    SupervisorHeld,
    ServersPss,
    ServersAnon,
    ServersFile,
    ServersShmem,
    ReadServersPss,
    ReadServersAnon,
    ReadServersFile,
    ReadServersShmem,
    FloorRead,
    Read,
}

/// Unit of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Mebibytes,
    MebibytesPerSecond,
}

impl Unit {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Mebibytes => "MiB",
            Self::MebibytesPerSecond => "MiB/s",
        }
    }

    /// Writes as many digits as mean something.
    pub(super) fn format(self, value: f64) -> String {
        match self {
            Self::Seconds => format!("{value:.2}"),
            Self::Mebibytes => format!("{value:.1}"),
            Self::MebibytesPerSecond => format!("{value:.0}"),
        }
    }
}

impl Metric {
    /// The floor's parts by the guest's clock.
    pub(super) const FLOOR_GUEST: [Self; 3] = [
        Self::FloorGuestKernel,
        Self::FloorGuestInitrd,
        Self::FloorGuestUserspace,
    ];
    /// The parts of bcvk's boot by the guest's clock.
    pub(super) const GUEST: [Self; 3] =
        [Self::GuestKernel, Self::GuestInitrd, Self::GuestUserspace];

    /// Returns the metric's name in the JSON, and in words.
    pub(super) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::FloorBanner => ("floor.banner", "by hand: virtiofsd + QEMU → SSH banner"),
            Self::FloorFirstSsh => ("floor.first_ssh", "by hand: then at once `ssh … true`"),
            Self::RunSsh => ("run.total", "**run-ssh IMAGE true**"),
            Self::RunContainer => ("run.container", "· CLI → supervisor runs"),
            Self::RunQemu => ("run.qemu", "· → QEMU started"),
            Self::RunKernel => ("run.kernel", "· → first byte on the console"),
            Self::RunInitrd => ("run.initrd", "· → initrd has mounted the root"),
            Self::RunUserspace => ("run.userspace", "· → userspace"),
            Self::RunBanner => ("run.banner", "· → ready"),
            Self::RunCommand => ("run.command", "· → command done (ssh ended)"),
            Self::RunTornDown => ("run.torn_down", "· → prompt"),
            Self::RunToQemu => ("run.to_qemu", "CLI → QEMU started"),
            Self::RunNothingLeft => ("run.nothing_left", "command done → prompt, nothing left"),
            Self::RunDirect => ("run.direct", "**run-ssh --initramfs direct IMAGE true**"),
            Self::RunSaved => (
                "run.saved",
                "**run-ssh --warm auto IMAGE true**, the first time",
            ),
            Self::RunResumed => ("run.resumed", "· the second time"),
            Self::RunRebuilt => ("run.rebuilt", "· after a build with other data"),
            Self::BuildAndRun => ("run.build_and_run", "· `podman build` and that together"),
            Self::RunUnit => ("run.unit", "· after a build with another unit"),
            Self::Detached => ("detached.returns", "run -d IMAGE"),
            Self::DetachedAfterQemu => ("detached.after_qemu", "· of it after QEMU started"),
            Self::FurtherSsh => ("ssh.further", "ssh NAME true, on a running VM"),
            Self::FloorGuestKernel => ("floor.guest.kernel", "by hand: kernel (guest's clock)"),
            Self::FloorGuestInitrd => ("floor.guest.initrd", "by hand: initrd"),
            Self::FloorGuestUserspace => (
                "floor.guest.userspace",
                "by hand: userspace, to the last job",
            ),
            Self::GuestKernel => ("guest.kernel", "bcvk: kernel (guest's clock)"),
            Self::GuestInitrd => ("guest.initrd", "bcvk: initrd"),
            Self::GuestUserspace => ("guest.userspace", "bcvk: userspace, to the last job"),
            Self::CliPeak => ("memory.cli.peak", "CLI of run-ssh, peak resident"),
            Self::SupervisorPss => ("memory.supervisor.pss", "supervisor, own (Pss)"),
            Self::SupervisorAnon => ("memory.supervisor.anon", "· resident anonymous"),
            Self::SupervisorFile => ("memory.supervisor.file", "· resident file (programs)"),
            Self::SupervisorShmem => ("memory.supervisor.shmem", "· resident shmem"),
            Self::SupervisorHeld => ("memory.supervisor.held", "· held in memfds, not mapped"),
            Self::ServersPss => ("memory.servers.pss", "file server, own (Pss)"),
            Self::ServersAnon => ("memory.servers.anon", "· resident anonymous"),
            Self::ServersFile => ("memory.servers.file", "· resident file (programs)"),
            Self::ServersShmem => ("memory.servers.shmem", "· resident shmem (guest's memory)"),
            Self::ReadServersPss => (
                "memory.read.pss",
                "both file servers after reading, own (Pss)",
            ),
            Self::ReadServersAnon => ("memory.read.anon", "· resident anonymous"),
            Self::ReadServersFile => ("memory.read.file", "· resident file (programs)"),
            Self::ReadServersShmem => ("memory.read.shmem", "· resident shmem (guest's memory)"),
            Self::FloorRead => ("floor.read", "by hand: read 2 GiB through virtiofs"),
            Self::Read => ("read", "bcvk --ro-bind: the same"),
        }
    }

    pub(super) fn unit(self) -> Unit {
        if (Self::CliPeak..=Self::ReadServersShmem).contains(&self) {
            Unit::Mebibytes
        } else if self >= Self::FloorRead {
            Unit::MebibytesPerSecond
        } else {
            Unit::Seconds
        }
    }
}

/// Measured values, in the order in which they were seen.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<Metric, Vec<f64>>);

impl Samples {
    pub(super) fn add(&mut self, metric: Metric, value: f64) {
        self.0.entry(metric).or_default().push(value);
    }

    pub(super) fn add_duration(&mut self, metric: Metric, value: Duration) {
        self.add(metric, value.as_secs_f64());
    }

    pub(super) fn add_bytes(&mut self, metric: Metric, bytes: u64) {
        self.add(metric, mebibytes(bytes));
    }

    pub(super) fn add_boot_times(
        &mut self,
        [kernel, initrd, userspace]: [Metric; 3],
        times: &BootTimes,
    ) {
        self.add_duration(kernel, times.kernel);
        self.add_duration(initrd, times.initrd);
        self.add_duration(userspace, times.userspace);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all values of `metric`.
    pub(super) fn of(&self, metric: Metric) -> &[f64] {
        self.0.get(&metric).map_or(&[], Vec::as_slice)
    }

    pub(super) fn median(&self, metric: Metric) -> Option<f64> {
        median(self.of(metric))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Metric, &[f64])> {
        self.0
            .iter()
            .map(|(metric, seen)| (*metric, seen.as_slice()))
    }
}

/// Returns the middle value, or the mean of the two in the middle.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

pub(super) fn least(values: &[f64]) -> Option<f64> {
    values.iter().copied().min_by(f64::total_cmp)
}

pub(super) fn greatest(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

#[expect(clippy::cast_precision_loss, reason = "f64 is exact up to 8 PiB")]
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        for (values, expected) in [
            (&[][..], None),
            (&[3.0], Some(3.0)),
            (&[9.0, 1.0, 2.0], Some(2.0)),
            (&[4.0, 1.0, 2.0, 9.0], Some(3.0)),
        ] {
            assert_eq!(median(values), expected, "{values:?}");
        }
    }
}
