//! A boot as an SVG picture (SVG 1.1, and `paint-order` of 2, without which it is a little less
//! legible). The SVG is written by hand: it consists of lines, boxes and words, and a crate for SVG
//! would not know better where they belong.

use std::fmt::Write as _;

use bcvk_host::timeline::{Span, Timeline};

use super::{Chart, PARTS, Rows, cut, heading, seconds, tick, ticks, took};
use crate::ui::xml::escaped;

/// Sizes in pixels of a picture that is not scaled.
const WIDTH: u64 = 1200;
const MARGIN: u64 = 24;
const ROW: u64 = 20;
const BAR: u64 = 12;
/// Space around headings.
const GAP: u64 = 4;
/// Height of the title, the marks of what happened, and the upper axis.
const HEAD: u64 = 128;
/// Height of a line of notes.
const LINE: u64 = 18;
/// Width of the space to the right of the bars, in which the last of them have their times.
const TIMES: u64 = 76;
/// Greatest average width of characters of the text's size, in tenths; a browser's font may be
/// narrower.
const CHARACTER: u64 = 72;
/// Longest name that is shown whole.
const NAME: usize = 46;

/// Colours that differ in lightness too, and are drawn on white wherever the picture is shown.
const CRITICAL: &str = "#d1350f";
const OTHER: &str = "#9db4cc";
const FAILED: &str = "#7a1fa2";
const READY: &str = "#1b7f3b";
const TEXT: &str = "#1f2933";
const FAINT: &str = "#66727f";
const GRID: &str = "#e1e6eb";
const BAND: &str = "#f3f5f8";

/// Outline that sets words apart from the lines below them.
const HALO: &str = r##"paint-order="stroke" stroke="#ffffff" stroke-width="3""##;

pub(super) fn draw(chart: &Chart<'_>) -> String {
    let rows = chart.rows(chart.timeline.end / PARTS);
    let picture = Picture::new(&rows, chart.timeline);
    let notes = chart.notes(&rows);
    let height = picture.bottom() + 30 + LINE * (notes.len() as u64 + 1) + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"'DejaVu Sans', Verdana, sans-serif\" \
         font-size=\"12\" fill=\"{TEXT}\">\n<title>{}</title>\n",
        escaped(&chart.title())
    );
    let mut add = |piece: String| {
        svg.push_str(&piece);
        svg.push('\n');
    };
    add(format!(
        r##"<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>"##
    ));
    add(words(
        MARGIN,
        38,
        r#"font-size="20" font-weight="bold""#,
        &cut(&chart.title(), 90),
    ));
    add(words(
        MARGIN,
        60,
        &format!(r#"fill="{FAINT}""#),
        &chart.summary(),
    ));
    picture.draw(&mut add);
    picture.legend(&notes, &mut add);
    svg.push_str("</svg>\n");
    svg
}

/// Layout of the picture.
struct Picture<'a> {
    rows: &'a Rows<'a>,
    timeline: &'a Timeline,
    /// Beginning and length of the axis.
    left: u64,
    axis: u64,
    /// Upper edge of each row, and of each heading.
    tops: Vec<u64>,
    headings: Vec<(u64, &'static str)>,
}

impl<'a> Picture<'a> {
    fn new(rows: &'a Rows<'a>, timeline: &'a Timeline) -> Self {
        let names = rows.spans.iter().map(|span| label(span).chars().count());
        let longest = names.max().unwrap_or_default() as u64;
        let left = 2 * MARGIN + longest * CHARACTER / 10;
        let (mut tops, mut headings) = (Vec::new(), Vec::new());
        let mut y = HEAD;
        let mut place = None;
        for span in &rows.spans {
            if place.replace(span.place) != Some(span.place) {
                y += GAP;
                headings.push((y, heading(span.place)));
                y += ROW + GAP;
            }
            tops.push(y);
            y += ROW;
        }
        Self {
            rows,
            timeline,
            left,
            axis: WIDTH - MARGIN - TIMES - left,
            tops,
            headings,
        }
    }

    /// Returns the lower edge of the last row.
    fn bottom(&self) -> u64 {
        self.tops.last().map_or(HEAD, |top| top + ROW) + 4
    }

    /// Returns the place of a time, to a tenth of a pixel.
    fn x(&self, time: u64) -> Tenths {
        let end = u128::from(self.timeline.end.max(1));
        let along = u128::from(time) * u128::from(self.axis * 10) / end;
        Tenths(self.left * 10 + u64::try_from(along).unwrap_or_default())
    }

    fn draw(&self, add: &mut impl FnMut(String)) {
        self.bands(add);
        self.grid(add);
        for (span, top) in self.rows.spans.iter().zip(&self.tops) {
            add(self.bar(span, *top));
        }
        self.path(add);
        self.marks(add);
        self.times(add);
        for (span, top) in self.rows.spans.iter().zip(&self.tops) {
            let y = top + 14;
            let style = if span.critical {
                format!(r#"fill="{CRITICAL}" font-weight="bold" {HALO}"#)
            } else {
                format!(r#"fill="{FAINT}" {HALO}"#)
            };
            let x = Tenths(self.x(span.to).0.max(self.x(span.from).0 + 20) + 60);
            // A span that took no time, such as a target, gets no label for it.
            if took(span) > 0 {
                add(words(x, y, &style, &seconds(took(span))));
            }
            let weight = if span.critical { "bold" } else { "normal" };
            let style = format!(r#"text-anchor="end" font-weight="{weight}""#);
            add(words(self.left - 10, y, &style, &label(span)));
        }
    }

    /// Draws the headings, and the bands that lead the eye along a row.
    fn bands(&self, add: &mut impl FnMut(String)) {
        let right = WIDTH - 2 * MARGIN;
        for top in self.tops.iter().skip(1).step_by(2) {
            add(format!(
                r##"<rect x="{MARGIN}" y="{top}" width="{right}" height="{ROW}" fill="#fafbfc"/>"##
            ));
        }
        for (y, text) in &self.headings {
            add(format!(
                r#"<rect x="{MARGIN}" y="{y}" width="{right}" height="{ROW}" rx="3" fill="{BAND}"/>"#
            ));
            add(words(MARGIN + 8, y + 14, r#"font-weight="bold""#, text));
        }
    }

    fn grid(&self, add: &mut impl FnMut(String)) {
        let bottom = self.bottom();
        for time in self.ticks() {
            let x = self.x(time);
            add(line(
                (x, Tenths::of(HEAD - 6)),
                (x, Tenths::of(bottom)),
                GRID,
                "",
            ));
        }
    }

    fn times(&self, add: &mut impl FnMut(String)) {
        for time in self.ticks() {
            for y in [HEAD - 12, self.bottom() + 14] {
                let style = format!(r#"text-anchor="middle" fill="{FAINT}" font-size="11" {HALO}"#);
                add(words(self.x(time), y, &style, &tick(time)));
            }
        }
    }

    fn ticks(&self) -> Vec<u64> {
        ticks(self.timeline.end, self.axis / 80)
    }

    fn bar(&self, span: &Span, top: u64) -> String {
        let y = top + (ROW - BAR) / 2;
        let from = self.x(span.from);
        let width = Tenths((self.x(span.to).0 - from.0).max(20));
        let fill = match span {
            span if span.failed => FAILED,
            span if span.critical => CRITICAL,
            _ => OTHER,
        };
        let tip = format!(
            "{}: {}, from {} to {}",
            span.name,
            seconds(took(span)),
            seconds(span.from),
            seconds(span.to)
        );
        let mut bar = format!(
            r#"<rect x="{from}" y="{y}" width="{width}" height="{BAR}" rx="1.5" fill="{fill}"><title>{}</title></rect>"#,
            escaped(&tip)
        );
        if span.starting {
            let x = Tenths(from.0 + width.0);
            let tip = Tenths(x.0 + 50);
            let (middle, low) = (y + BAR / 2, y + BAR);
            let _ = write!(
                bar,
                r#"<path d="M{x} {y}L{tip} {middle}L{x} {low}Z" fill="{fill}"/>"#
            );
        }
        bar
    }

    /// Draws the lines that lead from each step of the critical path to the next.
    fn path(&self, add: &mut impl FnMut(String)) {
        let mut steps: Vec<(&Span, u64)> = self
            .rows
            .spans
            .iter()
            .zip(&self.tops)
            .filter(|(span, _)| span.critical)
            .map(|(span, top)| (*span, *top))
            .collect();
        steps.sort_by_key(|(span, top)| (span.from, *top));
        let middle = |top: u64| Tenths::of(top + ROW / 2);
        for pair in steps.windows(2) {
            let [(span, top), (next, next_top)] = pair else {
                continue;
            };
            let (from, to) = (self.x(span.to), self.x(next.from));
            let corner = (to, middle(*top));
            let style = r#"stroke-dasharray="3 2""#;
            if to > from {
                add(line((from, middle(*top)), corner, CRITICAL, style));
            }
            add(line(corner, (to, middle(*next_top)), CRITICAL, style));
        }
    }

    /// Marks the times at which sshd answered and the command had its result.
    fn marks(&self, add: &mut impl FnMut(String)) {
        let timeline = self.timeline;
        let ready = (timeline.ready, "ready", HEAD - 30, READY);
        let result = (timeline.end, "result", HEAD - 46, TEXT);
        let result = (timeline.end > timeline.ready).then_some(result);
        for (time, what, y, colour) in [Some(ready), result].into_iter().flatten() {
            let x = self.x(time);
            let bottom = Tenths::of(self.bottom());
            let style = r#"stroke-width="1.5""#;
            add(line((x, Tenths::of(y - 10)), (x, bottom), colour, style));
            let style = format!(r#"text-anchor="end" font-weight="bold" fill="{colour}""#);
            let text = format!("{what} {}", seconds(time));
            add(words(Tenths(x.0.saturating_sub(60)), y, &style, &text));
        }
    }

    fn legend(&self, notes: &[String], add: &mut impl FnMut(String)) {
        let mut y = self.bottom() + 30 + LINE / 2;
        let mut x = MARGIN;
        let mut shown = vec![
            (CRITICAL, "critical path: what came next had to wait for it"),
            (OTHER, "other units, until they had started"),
        ];
        if self.rows.spans.iter().any(|span| span.failed) {
            shown.push((FAILED, "a unit that failed"));
        }
        for (colour, text) in shown {
            let top = y - 10;
            add(format!(
                r#"<rect x="{x}" y="{top}" width="{BAR}" height="{BAR}" rx="1.5" fill="{colour}"/>"#
            ));
            add(words(x + 18, y, "", text));
            x += 18 + text.chars().count() as u64 * CHARACTER / 10 + 16;
        }
        for note in notes {
            y += LINE;
            add(words(MARGIN, y, &format!(r#"fill="{FAINT}""#), note));
        }
    }
}

fn label(span: &Span) -> String {
    let name = cut(&span.name, NAME);
    if span.failed {
        format!("{name} ✗")
    } else {
        name
    }
}

/// Tenths of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tenths(u64);

impl Tenths {
    fn of(pixels: u64) -> Self {
        Self(pixels * 10)
    }
}

impl From<u64> for Tenths {
    fn from(pixels: u64) -> Self {
        Self::of(pixels)
    }
}

impl std::fmt::Display for Tenths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "{}", self.0 / 10),
            tenth => write!(f, "{}.{tenth}", self.0 / 10),
        }
    }
}

fn words(x: impl Into<Tenths>, y: u64, style: &str, text: &str) -> String {
    let space = if style.is_empty() { "" } else { " " };
    let (x, text) = (x.into(), escaped(text));
    format!(r#"<text x="{x}" y="{y}"{space}{style}>{text}</text>"#)
}

fn line(from: (Tenths, Tenths), to: (Tenths, Tenths), colour: &str, style: &str) -> String {
    let space = if style.is_empty() { "" } else { " " };
    let ((x1, y1), (x2, y2)) = (from, to);
    format!(r#"<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{space}{style}/>"#)
}
