//! Account that a guest's systemd gives of its own boot. The guest is not trusted: everything that is
//! kept of its account is bounded and clean.

use std::collections::HashMap;

use bcvk_contract::status::printable;

/// Most bytes of an answer that are worth reading: a system has some hundreds of units, and systemd
/// prints about two thousand bytes about each.
pub const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// Most units that are kept, and most others that one unit may be kept to wait for.
const MAX_UNITS: usize = 8192;
const MAX_AFTER: usize = 4096;

/// Longest name of a unit (systemd, src/basic/unit-def.h, UNIT_NAME_MAX).
const MAX_NAME_BYTES: usize = 255;

/// Microseconds that no guest which can still be asked has run for: ten years. A larger value is
/// wrong, and all that are less can be added and subtracted.
const MAX_MICROSECONDS: u64 = 10 * 366 * 24 * 3600 * 1_000_000;

/// Smallest step of `/proc/uptime`, in microseconds (`proc(5)`).
pub(super) const UPTIME_STEP: u64 = 10_000;

/// Command that asks for all that [`Answer::parse`] reads. Times are those of `CLOCK_MONOTONIC`,
/// whose zero is early in the kernel; `/proc/uptime` is the same clock in a guest that never
/// sleeps.
///
/// `systemctl show` is what every systemd from 252 on has; `systemd-analyze` is not in every image,
/// and not all of its versions have `plot --json`.
pub const QUESTION: &str = "\
cat /proc/uptime && echo && \
systemctl show --property=InitRDTimestampMonotonic,UserspaceTimestampMonotonic,\
UnitsLoadFinishTimestampMonotonic,FinishTimestampMonotonic && echo && \
systemctl show --all --property=Id,After,ActiveState,InactiveExitTimestampMonotonic,\
ActiveEnterTimestampMonotonic,InactiveEnterTimestampMonotonic,ExecMainStartTimestampMonotonic,\
ExecMainExitTimestampMonotonic '*'";

/// Answer of the guest. Times are microseconds on its clock; zero stands for what has not happened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Time at which the guest gave the answer.
    pub uptime: u64,
    /// Time at which systemd in the initramfs began; zero if there is none.
    pub initrd: u64,
    /// Time at which the image's systemd began.
    pub userspace: u64,
    /// Time at which the image's systemd knew its units.
    pub units_loaded: u64,
    /// Time at which everything that starts with the system had started.
    pub finished: u64,
    /// Units of the guest.
    pub units: Vec<Unit>,
}

/// A unit. Times are those of its latest start.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Name of the unit.
    pub id: String,
    /// Units that this one has to wait for, if they start too, as places in [`Answer::units`].
    pub after: Vec<usize>,
    /// Time at which the unit began to start.
    pub started: u64,
    /// Time at which the unit was active.
    pub active: u64,
    /// Time at which the unit was inactive again.
    pub inactive: u64,
    /// Beginning and end of the unit's main process.
    pub main: (u64, u64),
    /// True if the unit failed.
    pub failed: bool,
}

impl Unit {
    /// Returns the time at which the unit had started, so that units which wait for it need not wait
    /// any more; `None` if that is yet to come. A service that is only a command never is active, and
    /// has started when the command ends.
    #[must_use]
    pub fn done(&self) -> Option<u64> {
        [self.active, self.inactive]
            .into_iter()
            .find(|&at| self.started > 0 && at >= self.started)
    }
}

impl Answer {
    /// Reads the answer to [`QUESTION`]: blocks of `KEY=VALUE` lines with empty lines between them. A
    /// line that cannot be read is ignored.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut answer = Self::default();
        let mut waits: Vec<&str> = Vec::new();
        for block in text.split("\n\n") {
            let lines = || block.lines().filter_map(|line| line.split_once('='));
            let value = |key: &str| lines().find(|(k, _)| *k == key).map(|(_, v)| v);
            let time = |key: &str| value(key).map_or(0, microseconds);
            let Some(id) = value("Id") else {
                if answer.uptime == 0 {
                    answer.uptime = block.lines().find_map(uptime).unwrap_or_default();
                }
                if value("UserspaceTimestampMonotonic").is_some() {
                    answer.initrd = time("InitRDTimestampMonotonic");
                    answer.userspace = time("UserspaceTimestampMonotonic");
                    answer.units_loaded = time("UnitsLoadFinishTimestampMonotonic");
                    answer.finished = time("FinishTimestampMonotonic");
                }
                continue;
            };
            let id = printable(id);
            if id.is_empty() || id.len() > MAX_NAME_BYTES || answer.units.len() == MAX_UNITS {
                continue;
            }
            waits.push(value("After").unwrap_or_default());
            let active = time("ActiveEnterTimestampMonotonic");
            // A device does not start, but is there at once; systemd in the initramfs and systemd
            // in the image may both have noticed it.
            let started = match time("InactiveExitTimestampMonotonic") {
                began if id.ends_with(".device") => began.max(active),
                began => began,
            };
            answer.units.push(Unit {
                id,
                after: Vec::new(),
                started,
                active,
                inactive: time("InactiveEnterTimestampMonotonic"),
                main: (
                    time("ExecMainStartTimestampMonotonic"),
                    time("ExecMainExitTimestampMonotonic"),
                ),
                failed: value("ActiveState") == Some("failed"),
            });
        }
        answer.resolve(&waits);
        answer
    }

    /// Returns the unit of this name.
    #[must_use]
    pub fn unit(&self, id: &str) -> Option<&Unit> {
        self.units.iter().find(|unit| unit.id == id)
    }

    /// Turns the names of units into places. A name that no unit has is left out.
    fn resolve(&mut self, waits: &[&str]) {
        let places: HashMap<String, usize> = self
            .units
            .iter()
            .enumerate()
            .map(|(place, unit)| (unit.id.clone(), place))
            .collect();
        for (unit, names) in self.units.iter_mut().zip(waits) {
            let named = names.split_ascii_whitespace().take(MAX_AFTER);
            unit.after = named.filter_map(|name| places.get(name).copied()).collect();
        }
    }
}

fn microseconds(value: &str) -> u64 {
    value
        .parse()
        .ok()
        .filter(|&time| time < MAX_MICROSECONDS)
        .unwrap_or_default()
}

/// Parses the first number of `/proc/uptime`: seconds, with two digits after the point.
fn uptime(line: &str) -> Option<u64> {
    let (seconds, rest) = line.split_once('.')?;
    let hundredths = rest.split(' ').next().filter(|digits| digits.len() == 2)?;
    let whole = seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?;
    let part = hundredths.parse::<u64>().ok()? * UPTIME_STEP;
    whole
        .checked_add(part)
        .filter(|&time| time < MAX_MICROSECONDS)
}
