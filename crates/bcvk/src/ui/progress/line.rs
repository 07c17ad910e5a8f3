//! Text of the progress line, and the part of it that fits. Pure.

use std::time::{Duration, Instant};

use bcvk_contract::status::Phase;
use bcvk_host::BootTime;
use unicode_width::UnicodeWidthChar;

use crate::ui::duration;

/// Cells of the bar.
const BAR: usize = 16;

/// A terminal narrower than this has no place for the bar.
const WIDE: usize = 60;

/// Knowledge about a boot.
#[derive(Debug, Clone)]
pub(super) struct Boot {
    /// Phase of the VM; `None` before the supervisor has said anything.
    pub(super) phase: Option<Phase>,
    /// Time since which the user waits.
    pub(super) since: Instant,
    /// Time since which the VM is in its phase.
    pub(super) phase_since: Instant,
    /// Time that the user waited before the VM's first phase.
    pub(super) lead: Duration,
    /// Times of an earlier boot like this one.
    pub(super) last: Option<BootTime>,
}

impl Boot {
    /// State of the boot at `now`.
    pub(super) fn at(&self, now: Instant) -> Moment {
        let (Some(phase), Some(last)) = (self.phase, &self.last) else {
            return Moment {
                phase: self.phase,
                waited: now.saturating_duration_since(self.since),
                expected: None,
            };
        };
        let reached = last.reached(phase, now.saturating_duration_since(self.phase_since));
        Moment {
            phase: self.phase,
            waited: now.saturating_duration_since(self.since),
            expected: Some(Expected {
                reached: self.lead + reached,
                total: self.lead + last.total(),
            }),
        }
    }
}

/// A boot at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) phase: Option<Phase>,
    pub(super) waited: Duration,
    pub(super) expected: Option<Expected>,
}

/// Comparison with the last boot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// Time after which that boot was as far.
    pub(super) reached: Duration,
    /// Time that the last boot took.
    pub(super) total: Duration,
}

/// Abilities of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TerminalStyle {
    /// True if the terminal may be given bold and faint text. It is not given colours: what is
    /// readable on a dark background may not be on a light one.
    weights: bool,
    /// True if the terminal shows more than ASCII.
    unicode: bool,
}

impl TerminalStyle {
    /// Reads the abilities from the environment: <https://no-color.org>, and the locale as
    /// setlocale(3) finds it.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let locale = set("LC_ALL")
            .or_else(|| set("LC_CTYPE"))
            .or_else(|| set("LANG"));
        let locale = locale.unwrap_or_default().to_lowercase();
        Self {
            weights: set("NO_COLOR").is_none(),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Normal,
    Bold,
    Faint,
}

/// Writes the line in at most `columns` cells; `tick` counts how often it was drawn.
pub(super) fn line(
    moment: &Moment,
    awaited: Option<&str>,
    tick: usize,
    columns: usize,
    style: TerminalStyle,
) -> String {
    let mut line = TruncatedText {
        text: String::new(),
        left: columns,
        style,
    };
    line.add(Weight::Normal, &format!("{} ", spinner(tick, style)));
    if let Some(expected) = moment.expected.filter(|_| columns >= WIDE) {
        let (done, rest) = bar(&expected, style);
        line.add(Weight::Normal, &done);
        line.add(Weight::Faint, &rest);
        line.add(Weight::Normal, " ");
    }
    line.add(Weight::Normal, &time(moment));
    line.add(Weight::Normal, "  ");
    line.add(Weight::Bold, doing(moment.phase));
    if let Some(awaited) = awaited {
        line.add(Weight::Normal, ": ");
        line.add(Weight::Normal, awaited);
    }
    line.text
}

/// Describes the phase to somebody who waits for it.
fn doing(phase: Option<Phase>) -> &'static str {
    match phase {
        None => "starting the container",
        Some(Phase::Preparing) => "looking at the image",
        Some(Phase::Qemu) => "starting the VM",
        Some(Phase::Kernel) => "booting kernel and initramfs",
        Some(Phase::Initrd) => "switching to the image",
        Some(Phase::Reachable) => Phase::Userspace.describe(),
        Some(other) => other.describe(),
    }
}

/// Writes the seconds beside those of the last time, and says plainly when they are more.
fn time(moment: &Moment) -> String {
    let waited = duration(moment.waited.as_secs());
    match moment.expected {
        None => waited,
        Some(expected) => {
            let total = duration(rounded(expected.total));
            if moment.waited.as_secs() > rounded(expected.total) {
                format!("{waited} (last time {total})")
            } else {
                format!("{waited:>0$} of ~{total}", total.len())
            }
        }
    }
}

fn rounded(duration: Duration) -> u64 {
    (duration + Duration::from_millis(500)).as_secs()
}

fn spinner(tick: usize, style: TerminalStyle) -> char {
    const DOTS: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
    const STROKES: [char; 4] = ['|', '/', '-', '\\'];
    if style.unicode {
        DOTS[tick % DOTS.len()]
    } else {
        STROKES[tick % STROKES.len()]
    }
}

/// Draws the full and the empty part of the bar. It is full when the VM is ready, and not before.
fn bar(expected: &Expected, style: TerminalStyle) -> (String, String) {
    let total = expected.total.as_millis().max(1);
    let full = expected.reached.as_millis() * BAR as u128 / total;
    let full = usize::try_from(full).unwrap_or(BAR).min(BAR - 1);
    let (done, rest) = if style.unicode {
        ("━", "─")
    } else {
        ("=", ".")
    };
    (done.repeat(full), rest.repeat(BAR - full))
}

/// Text that is cut where its space ends.
struct TruncatedText {
    text: String,
    left: usize,
    style: TerminalStyle,
}

impl TruncatedText {
    fn add(&mut self, weight: Weight, text: &str) {
        let text = if self.style.unicode {
            text.to_owned()
        } else {
            text.chars()
                .map(|c| if c.is_ascii() { c } else { '?' })
                .collect()
        };
        let shown = if width(&text) <= self.left {
            self.left -= width(&text);
            text
        } else {
            let left = std::mem::take(&mut self.left);
            cut(&text, left, if self.style.unicode { "…" } else { "~" })
        };
        let codes = match weight {
            Weight::Bold => Some("1"),
            Weight::Faint => Some("2"),
            Weight::Normal => None,
        };
        match codes.filter(|_| self.style.weights && !shown.is_empty()) {
            Some(code) => self
                .text
                .extend(["\u{1b}[", code, "m", &shown, "\u{1b}[0m"]),
            None => self.text.push_str(&shown),
        }
    }
}

/// Returns the cells that a terminal takes for `text` at most: some draw several characters as one.
fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or_default()).sum()
}

/// Cuts `text` so that it fits into `columns` with `mark` behind it.
fn cut(text: &str, columns: usize, mark: &str) -> String {
    let Some(mut left) = columns.checked_sub(width(mark)) else {
        return String::new();
    };
    let fits = |c: &char| {
        let width = c.width().unwrap_or_default();
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    let mut shown: String = text.chars().take_while(fits).collect();
    shown.push_str(mark);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: TerminalStyle = TerminalStyle {
        weights: false,
        unicode: true,
    };
    const ASCII: TerminalStyle = TerminalStyle {
        weights: false,
        unicode: false,
    };

    fn moment(phase: Phase, waited: u64, expected: Option<(u64, u64)>) -> Moment {
        Moment {
            phase: Some(phase),
            waited: Duration::from_secs(waited),
            expected: expected.map(|(reached, total)| Expected {
                reached: Duration::from_secs(reached),
                total: Duration::from_secs(total),
            }),
        }
    }

    #[test]
    fn lines() {
        let start = Moment {
            phase: None,
            ..moment(Phase::Preparing, 0, None)
        };
        let services = moment(Phase::Userspace, 12, Some((11, 22)));
        let slow = moment(Phase::Kernel, 75, Some((10, 22)));
        let long = "a-unit-whose-name-is-as-long-as-those-of-devices-are-in-every-system.device";
        let lines = [
            line(&start, None, 0, 79, PLAIN),
            line(&moment(Phase::Preparing, 1, None), None, 1, 79, PLAIN),
            line(
                &moment(Phase::Kernel, 3, Some((3, 22))),
                Some("Freeing unused memory"),
                2,
                79,
                PLAIN,
            ),
            line(&services, Some("ssh.service"), 3, 79, PLAIN),
            line(&services, Some("ssh.service"), 3, 79, ASCII),
            line(&services, Some(long), 4, 79, PLAIN),
            line(&services, Some(long), 4, 39, ASCII),
            line(&services, Some("größe-漢字-漢字.service"), 5, 54, PLAIN),
            line(&services, Some("größe.service"), 5, 59, ASCII),
            line(&services, Some("x"), 5, 12, PLAIN),
            line(&slow, Some("x"), 6, 79, PLAIN),
            line(
                &moment(Phase::Userspace, 130, Some((100, 185))),
                None,
                7,
                79,
                PLAIN,
            ),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn no_line_is_wider_than_its_place() {
        let moment = moment(Phase::Userspace, 12, Some((11, 22)));
        for style in [PLAIN, ASCII] {
            for columns in 0..120 {
                let line = line(
                    &moment,
                    Some("漢字-größe-漢字.service 漢字漢字漢字漢字漢字漢字"),
                    1,
                    columns,
                    style,
                );
                assert!(width(&line) <= columns, "{columns}: {line}");
                assert!(style.unicode || line.is_ascii(), "{line}");
            }
        }
    }

    #[test]
    fn only_weights_are_given_to_a_terminal_and_only_where_they_are_wanted() {
        let moment = moment(Phase::Userspace, 12, Some((11, 22)));
        let environment = |name: &str| match name {
            "LC_CTYPE" => Some("de_DE.UTF-8".to_owned()),
            "LANG" => Some("C".to_owned()),
            _ => None,
        };
        let style = TerminalStyle::of(environment);
        let weighted = line(&moment, Some("x"), 0, 79, style);
        assert_eq!(weighted.matches('\u{1b}').count(), 4, "{weighted:?}");
        assert!(
            weighted.contains("\u{1b}[1mstarting services\u{1b}[0m: x"),
            "{weighted:?}"
        );
        let style = TerminalStyle::of(|name| match name {
            "NO_COLOR" => Some("1".to_owned()),
            other => environment(other),
        });
        assert_eq!(style, PLAIN);
        assert!(!TerminalStyle::of(|_| None).unicode);
    }

    #[test]
    fn a_boot_that_takes_longer_says_so_and_is_never_full() {
        for reached in [22, 23, 1000] {
            let (done, rest) = bar(
                &Expected {
                    reached: Duration::from_secs(reached),
                    total: Duration::from_secs(22),
                },
                ASCII,
            );
            assert_eq!((done.len(), rest.len()), (BAR - 1, 1), "{reached}");
        }
        for (waited, time_shown) in [
            (9, " 9s of ~22s"),
            (22, "22s of ~22s"),
            (23, "23s (last time 22s)"),
        ] {
            assert_eq!(
                time(&moment(Phase::Kernel, waited, Some((1, 22)))),
                time_shown
            );
        }
    }
}
