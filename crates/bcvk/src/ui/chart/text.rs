//! A boot as lines of text. There are no escape sequences: characters mark what the boot waited for.

use std::fmt::Write as _;

use bcvk_host::timeline::{Span, Timeline};

use super::{Chart, cut, heading, seconds, tick, ticks, took};

/// Least width of the part with the bars; a terminal that is narrower wraps.
const LEAST_BARS: usize = 16;

/// Columns of a time such as `12.34 s`, and of the blanks that keep it apart.
const TIME: usize = 9;

/// Columns of the `* ` in front of what was waited for.
const MARK: usize = 2;

/// Columns between two times on the axis.
const BETWEEN_TICKS: usize = 10;

/// Columns of a line's parts.
struct Layout {
    names: usize,
    bars: usize,
    end: u64,
}

pub(super) fn draw(chart: &Chart<'_>, width: usize) -> String {
    let timeline = chart.timeline;
    // The bar of a span shorter than a column does not show its length.
    let column = |bars: usize| timeline.end / (bars as u64).max(1);
    let longest = |spans: &[&Span]| spans.iter().map(|s| s.name.chars().count()).max();
    let most = (width / 3).max(12);
    let rows = chart.rows(column(bars_beside(width, most)));
    let names = longest(&rows.spans).unwrap_or_default().min(most);
    let layout = Layout {
        names,
        bars: bars_beside(width, names),
        end: timeline.end.max(1),
    };

    let mut text = format!("{}\n{}\n\n", chart.title(), chart.summary());
    text.push_str(&layout.axis());
    let mut place = None;
    for span in &rows.spans {
        if place.replace(span.place) != Some(span.place) {
            text.push_str(heading(span.place));
            text.push('\n');
        }
        text.push_str(&layout.line(span, timeline));
    }
    text.push('\n');
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "* █  the critical path: what came next had to wait for it"
    );
    let _ = writeln!(
        text,
        "  ░  other units, until they had started; > goes on; │ ready"
    );
    for note in chart.notes(&rows) {
        let _ = writeln!(text, "{note}");
    }
    text
}

fn bars_beside(width: usize, names: usize) -> usize {
    width
        .saturating_sub(MARK + names + TIME + 1)
        .max(LEAST_BARS)
}

impl Layout {
    /// Returns the column of a time. The last one is that of the end.
    fn column(&self, time: u64) -> usize {
        let column = u128::from(time) * self.bars as u128 / u128::from(self.end);
        usize::try_from(column)
            .unwrap_or(self.bars)
            .min(self.bars - 1)
    }

    fn ticks(&self) -> Vec<u64> {
        ticks(self.end, (self.bars / BETWEEN_TICKS) as u64)
    }

    fn axis(&self) -> String {
        let mut line = String::new();
        for time in self.ticks() {
            let words = tick(time);
            let column = self.column(time);
            if column + words.len() <= self.bars {
                // The words are ASCII, so bytes are columns.
                let _ = write!(line, "{:column$}", "");
                line.truncate(column);
                line.push_str(&words);
            }
        }
        format!("{:1$}{line}\n", "", MARK + self.names + TIME + 1)
    }

    fn line(&self, span: &Span, timeline: &Timeline) -> String {
        let mark = if span.critical { '*' } else { ' ' };
        let name = if span.failed {
            format!("{} ✗", cut(&span.name, self.names.saturating_sub(2)))
        } else {
            cut(&span.name, self.names)
        };
        let bars: String = (0..self.bars)
            .map(|column| self.cell(column, span, timeline))
            .collect();
        let line = format!(
            "{mark} {name:names$}{:>TIME$} {bars}",
            seconds(took(span)),
            names = self.names
        );
        format!("{}\n", line.trim_end())
    }

    fn cell(&self, column: usize, span: &Span, timeline: &Timeline) -> char {
        let (first, last) = (self.column(span.from), self.last_column(span));
        if (first..=last).contains(&column) {
            return match span {
                span if span.starting && column == last => '>',
                span if span.critical => '█',
                _ => '░',
            };
        }
        if column == self.column(timeline.ready) {
            return '│';
        }
        let on_tick = self.ticks().iter().any(|&time| self.column(time) == column);
        if on_tick { '·' } else { ' ' }
    }

    /// Returns the last column that a span has a part of.
    fn last_column(&self, span: &Span) -> usize {
        let last = if span.to > span.from {
            span.to - 1
        } else {
            span.to
        };
        self.column(last)
    }
}
