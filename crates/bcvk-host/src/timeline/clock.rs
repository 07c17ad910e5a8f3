//! The guest's clock on the host's axis.
//!
//! The guest counts microseconds from a moment early in its kernel. Events that both sides saw tell
//! when that moment was on the host's clock, each of them between bounds:
//!
//! - The supervisor heard `userspace` on the control port. The guest's systemd knows when the process
//!   that reported it began and ended.
//! - The supervisor saw the first byte on the console, which the kernel sends after it has started
//!   its clock (Linux, init/main.c: `timekeeping_init` comes before `console_init`).
//! - The supervisor had started QEMU before that moment.
//! - The guest answered a question. It did so after the question was asked, and before the answer
//!   came.
//!
//! The first event counts most. It is part of the boot, and clocks drift apart: the offset of a VM
//! that has run for a week need not be that of its first second. And it does not depend on what
//! firmware or an early console may print.

use bcvk_contract::status::{Event, Phase, Timestamp};

use super::guest::{Answer, UPTIME_STEP};

/// Unit of bcvk's that reports `userspace`.
const TELLS_USERSPACE: &str = "bcvk-userspace.service";

/// Times, on the host, at which the guest was asked and began to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Time before the question was sent.
    pub sent: Timestamp,
    /// Time after the first of the answer had come.
    pub heard: Timestamp,
}

/// The earliest and the latest time at which the guest's clock can have been zero, in the host's
/// microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Zero {
    low: u64,
    high: u64,
}

impl Zero {
    /// Narrows the bounds by all that is known; `history` has the times at which the supervisor
    /// noticed each phase.
    pub(super) fn find(answer: &Answer, history: &[Event], asked: Asked) -> Self {
        let began = |phase| history.iter().find(|e| e.phase == phase).map(|e| e.at);
        let word = began(Phase::Userspace).and_then(|heard| Self::of_word(answer, heard));
        let console = began(Phase::Kernel).map(|seen| Self {
            low: 0,
            high: seen.0,
        });
        let qemu = began(Phase::Qemu).map(|started| Self {
            low: started.0,
            high: u64::MAX,
        });
        let all = [word, console, qemu, Some(Self::of_answer(answer, asked))];
        all.into_iter()
            .flatten()
            // A fact that contradicts facts which count more is left aside.
            .reduce(|known, next| known.and(next).unwrap_or(known))
            .unwrap_or(Self { low: 0, high: 0 })
    }

    fn of_word(answer: &Answer, heard: Timestamp) -> Option<Self> {
        let (begun, ended) = answer.unit(TELLS_USERSPACE)?.main;
        (begun > 0 && ended >= begun).then(|| Self::between(heard.0, ended, heard.0, begun))
    }

    fn of_answer(answer: &Answer, asked: Asked) -> Self {
        let shown = answer.uptime;
        Self::between(asked.sent.0, shown + UPTIME_STEP, asked.heard.0, shown)
    }

    /// Returns the bounds from two readings: at `early` the guest's clock showed `late_show` at most,
    /// at `late` it showed `early_show` at least.
    fn between(early: u64, late_show: u64, late: u64, early_show: u64) -> Self {
        let low = early.saturating_sub(late_show);
        let high = late.saturating_sub(early_show);
        Self {
            low,
            high: high.max(low),
        }
    }

    fn and(self, other: Self) -> Option<Self> {
        let both = Self {
            low: self.low.max(other.low),
            high: self.high.min(other.high),
        };
        (both.low <= both.high).then_some(both)
    }

    /// Returns the guest's `time` on the host's clock.
    pub(super) fn host(self, time: u64) -> Timestamp {
        Timestamp(self.low.midpoint(self.high).saturating_add(time))
    }

    /// Returns the greatest error of such a time, to either side.
    pub(super) fn uncertainty(self) -> u64 {
        (self.high - self.low).div_ceil(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::guest::Unit;

    const ASKED: Asked = Asked {
        sent: Timestamp(109_000_000),
        heard: Timestamp(110_000_000),
    };

    fn answer(main: (u64, u64)) -> Answer {
        Answer {
            uptime: 9_300_000,
            units: vec![Unit {
                id: TELLS_USERSPACE.to_owned(),
                main,
                ..Unit::default()
            }],
            ..Answer::default()
        }
    }

    fn find(main: (u64, u64), history: &[(Phase, u64)]) -> (u64, u64) {
        let history: Vec<Event> = history
            .iter()
            .map(|&(phase, at)| Event {
                phase,
                at: Timestamp(at),
            })
            .collect();
        let zero = Zero::find(&answer(main), &history, ASKED);
        (zero.host(0).0, zero.uncertainty())
    }

    #[test]
    fn each_sighting_narrows_it() {
        use Phase::{Kernel, Qemu, Userspace};
        // The zero is from 99.69 to 100.7.
        assert_eq!(find((0, 0), &[]), (100_195_000, 505_000));
        let main = (5_000_000, 5_200_000);
        let word = (Userspace, 105_300_000);
        // The zero is from 100.1 to 100.3.
        assert_eq!(find(main, &[word]), (100_200_000, 100_000));
        assert_eq!(
            find(main, &[(Kernel, 100_200_000), word]),
            (100_150_000, 50_000)
        );
        let all = [(Qemu, 100_160_000), (Kernel, 100_200_000), word];
        assert_eq!(find(main, &all), (100_180_000, 20_000));
    }

    #[test]
    fn the_boots_own_word_counts_more_than_a_later_answer() {
        use Phase::{Kernel, Userspace};
        // The clocks have drifted by two seconds since, and there is an early console.
        let history = [(Kernel, 90_000_000), (Userspace, 103_300_000)];
        let main = (5_000_000, 5_200_000);
        assert_eq!(find(main, &history), (98_200_000, 100_000));
        // A unit that still runs, and one that ends before it begins, tell nothing.
        for main in [(5_000_000, 0), (0, 5_000_000)] {
            assert_eq!(find(main, &history[1..]), (100_195_000, 505_000));
        }
    }
}
