//! Promises of bcvk, and whether the numbers keep them.

use serde::Serialize;

use super::metrics::{Metric, Samples, greatest};

/// One promise.
#[derive(Debug, Serialize)]
pub(super) struct Criterion {
    /// Description in words.
    pub(super) what: &'static str,
    /// Measured value: a median where nothing else is said.
    pub(super) measured: f64,
    /// The bound.
    pub(super) bound: Bound,
    pub(super) unit: &'static str,
    pub(super) met: bool,
}

/// A promise's number and the side on which it is kept.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    pub(super) fn describe(self, unit: &str) -> String {
        let (sign, value) = match self {
            Self::AtMost(most) => ("≤", most),
            Self::AtLeast(least) => ("≥", least),
        };
        format!("{sign} {value} {unit}").trim_end().to_owned()
    }
}

/// Description, measured value, bound and unit of a promise.
type Row = (&'static str, Option<f64>, Bound, &'static str);

/// Returns the promises for which there are numbers.
pub(super) fn judge(samples: &Samples) -> Vec<Criterion> {
    whole_runs(samples)
        .into_iter()
        .chain(steps(samples))
        .chain(resources(samples))
        .filter_map(|(what, measured, bound, unit)| {
            let measured = measured?;
            Some(Criterion {
                what,
                measured,
                bound,
                unit,
                met: bound.met_by(measured),
            })
        })
        .collect()
}

/// Returns the promises on the duration of `run-ssh`.
fn whole_runs(samples: &Samples) -> [Row; 6] {
    let median = |metric| samples.median(metric);
    let total = median(Metric::RunSsh);
    let by_hand = sum(samples, Metric::FloorBanner, Metric::FloorFirstSsh);
    [
        (
            "run-ssh IMAGE true ÷ (by hand to the banner + a further ssh)",
            ratio(total, sum(samples, Metric::FloorBanner, Metric::FurtherSsh)),
            Bound::AtMost(1.10),
            "",
        ),
        (
            "run-ssh IMAGE true ÷ (by hand to the banner + ssh at once)",
            ratio(total, by_hand),
            Bound::AtMost(0.80),
            "",
        ),
        (
            "run-ssh --initramfs direct ÷ (by hand to the banner + ssh at once)",
            ratio(median(Metric::RunDirect), by_hand),
            Bound::AtMost(0.65),
            "",
        ),
        (
            "run-ssh --warm auto: the second time ÷ run-ssh",
            ratio(median(Metric::RunResumed), total),
            Bound::AtMost(0.07),
            "",
        ),
        (
            "run-ssh --warm auto: after a build with other data ÷ run-ssh",
            ratio(median(Metric::RunRebuilt), total),
            Bound::AtMost(0.08),
            "",
        ),
        (
            "run-ssh --warm auto: what the save adds",
            median(Metric::RunSaved)
                .zip(total)
                .map(|(saved, total)| saved - total),
            Bound::AtMost(1.0),
            "s",
        ),
    ]
}

/// Returns the promises on the duration of single steps.
fn steps(samples: &Samples) -> [Row; 2] {
    let median = |metric| samples.median(metric);
    [
        (
            "CLI → QEMU started",
            median(Metric::RunToQemu),
            Bound::AtMost(0.6),
            "s",
        ),
        (
            "command done → prompt, nothing left",
            median(Metric::RunNothingLeft),
            Bound::AtMost(0.5),
            "s",
        ),
    ]
}

/// Returns the promises on memory and on the file server's throughput.
fn resources(samples: &Samples) -> [Row; 3] {
    let median = |metric| samples.median(metric);
    [
        (
            "CLI's peak (greatest of all runs)",
            greatest(samples.of(Metric::CliPeak)),
            Bound::AtMost(20.0),
            "MiB",
        ),
        (
            "supervisor + file server, own memory",
            sum(samples, Metric::SupervisorPss, Metric::ServersPss),
            Bound::AtMost(40.0),
            "MiB",
        ),
        (
            "reading 2 GiB ÷ bare virtiofsd",
            ratio(median(Metric::Read), median(Metric::FloorRead)),
            Bound::AtLeast(0.95),
            "",
        ),
    ]
}

fn ratio(part: Option<f64>, of: Option<f64>) -> Option<f64> {
    Some(part? / of?)
}

/// Adds the medians of two metrics.
fn sum(samples: &Samples, a: Metric, b: Metric) -> Option<f64> {
    Some(samples.median(a)? + samples.median(b)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians_and_need_both_sides() {
        let mut samples = Samples::default();
        for total in [22.0, 90.0, 21.0] {
            samples.add(Metric::RunSsh, total);
        }
        samples.add(Metric::FloorBanner, 19.0);
        assert!(judge(&samples).is_empty());
        samples.add(Metric::FurtherSsh, 1.0);
        let criteria = judge(&samples);
        assert_eq!(criteria.len(), 1);
        assert!((criteria[0].measured - 1.10).abs() < 1e-9);
        assert!(criteria[0].met);
    }
}
