//! Picture of a boot: its content, whichever way it is drawn.

mod svg;
mod text;

use bcvk_contract::status::printable;
use bcvk_host::timeline::{Place, Span, Timeline};

/// Parts of the axis below which a unit that nothing waited for is not worth its line in a picture.
const PARTS: u64 = 200;

/// A boot, to be drawn.
#[derive(Debug)]
pub(crate) struct Chart<'a> {
    /// Image that was booted, as the user named it.
    pub(crate) image: &'a str,
    /// Name of the VM.
    pub(crate) name: &'a str,
    /// The boot.
    pub(crate) timeline: &'a Timeline,
    /// True if every unit is shown.
    pub(crate) all: bool,
}

/// The lines of a chart.
struct Rows<'a> {
    spans: Vec<&'a Span>,
    /// Number of spans that were left out, and the time that each of them took less than.
    hidden: usize,
    least: u64,
}

impl Chart<'_> {
    /// Draws the chart for a terminal that is `width` wide.
    pub(crate) fn text(&self, width: usize) -> String {
        text::draw(self, width)
    }

    /// Draws the chart as a file, or part of a page.
    pub(crate) fn svg(&self) -> String {
        svg::draw(self)
    }

    /// Selects the spans that are worth a line if nothing shorter than `least` can be seen.
    fn rows(&self, least: u64) -> Rows<'_> {
        let worth = |span: &&Span| {
            let long = took(span) >= least.max(1) || span.starting;
            self.all || span.place != Place::Unit || span.critical || span.failed || long
        };
        let spans: Vec<&Span> = self.timeline.spans.iter().filter(worth).collect();
        Rows {
            hidden: self.timeline.spans.len() - spans.len(),
            spans,
            least,
        }
    }

    fn title(&self) -> String {
        printable(&format!("Boot of {}", self.image))
    }

    /// Says in a sentence how long the boot took.
    fn summary(&self) -> String {
        let timeline = self.timeline;
        let ready = seconds(timeline.ready);
        let last = timeline.spans.last();
        let text = match last.filter(|_| timeline.end > timeline.ready) {
            Some(command) => format!(
                "VM {}: ready after {ready}, and `{}` had its result after {}",
                self.name,
                cut(&command.name, 40),
                seconds(timeline.end)
            ),
            None => format!("VM {}: ready after {ready}", self.name),
        };
        printable(&text)
    }

    /// Notes that a reader of the chart has to know.
    fn notes(&self, rows: &Rows<'_>) -> Vec<String> {
        let timeline = self.timeline;
        let mut notes = Vec::new();
        if rows.hidden > 0 {
            let units = if rows.hidden == 1 { "unit" } else { "units" };
            notes.push(format!(
                "{} {units} that took less than {} and kept nothing waiting: --all shows them",
                rows.hidden,
                seconds(rows.least)
            ));
        }
        if timeline.resumed {
            notes.push(
                "resumed from a snapshot: the guest's clock began in the VM that was saved"
                    .to_owned(),
            );
        } else if !timeline.path_known {
            notes.push(
                "sshd's unit was started again after the boot: what it had waited for is not known"
                    .to_owned(),
            );
        }
        if let Some(uncertainty) = timeline.uncertainty {
            notes.push(format!(
                "the clocks of host and guest are lined up to within {}",
                seconds(uncertainty)
            ));
        }
        notes
    }
}

/// Heading of a part of the chart.
fn heading(place: Place) -> &'static str {
    match place {
        Place::Host => "Host",
        Place::Guest => "Guest",
        Place::Unit => "Guest's units",
        Place::Session => "Answer",
    }
}

fn took(span: &Span) -> u64 {
    span.to - span.from
}

/// Writes microseconds as a person reads them: `340 ms`, `12.35 s`.
fn seconds(microseconds: u64) -> String {
    if microseconds < 999_500 {
        format!("{} ms", (microseconds + 500) / 1000)
    } else {
        let hundredths = (microseconds + 5000) / 10_000;
        format!("{}.{:02} s", hundredths / 100, hundredths % 100)
    }
}

/// Cuts `text` to at most `most` characters; the ends of a unit's name say more than its middle.
fn cut(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let tail = kept / 2;
    let head = text.chars().take(kept - tail);
    head.chain(['…'])
        .chain(text.chars().skip(length - tail))
        .collect()
}

/// Returns round times from zero to `end`, with at most `most` steps between them.
fn ticks(end: u64, most: u64) -> Vec<u64> {
    let mut step = 1000;
    for factor in [2, 5, 10].iter().cycle() {
        if step * most.max(1) >= end {
            break;
        }
        // The steps are 1, 2, 5, 10, 20, 50, …
        step = match factor {
            5 => step / 2 * 5,
            _ => step * 2,
        };
    }
    (0..=end / step).map(|n| n * step).collect()
}

/// Writes a tick's time, without digits that none of the ticks needs.
fn tick(time: u64) -> String {
    let milliseconds = time / 1000;
    match (milliseconds / 1000, milliseconds % 1000) {
        (0, 0) => "0".to_owned(),
        (whole, 0) => format!("{whole} s"),
        (0, part) => format!("{part} ms"),
        (whole, part) => format!("{whole}.{} s", format!("{part:03}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests;
