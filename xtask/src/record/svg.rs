//! Screens, one after the other, as SVG. Browsers, also those that show it as an image, move the strip of
//! screens behind a window (CSS animation, in steps).

use std::fmt::Write as _;
use std::time::Duration;

use pulldown_cmark_escape::escape_html;

use super::styled::{Span, Style};

/// Rows of the window.
const ROWS: usize = 20;

/// Sizes, in pixels.
const WIDTH: f32 = 8.4;
const HEIGHT: usize = 19;
const MARGIN: usize = 14;

/// Longest time for which a screen stands still, and for the last.
const STILL: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(5);

/// The sixteen colours, on dark ground.
const COLOURS: [&str; 16] = [
    "#6b7280", "#f87171", "#4ade80", "#facc15", "#60a5fa", "#c084fc", "#22d3ee", "#e5e7eb",
    "#9ca3af", "#fca5a5", "#86efac", "#fde047", "#93c5fd", "#d8b4fe", "#67e8f9", "#ffffff",
];

/// A screen.
#[derive(Debug)]
pub(super) struct Frame {
    /// Time since the beginning.
    pub(super) at: Duration,
    pub(super) lines: Vec<Vec<Span>>,
}

impl Frame {
    /// Returns true if the last line ends with this text.
    pub(super) fn ends_with(&self, text: &str) -> bool {
        let last = self.lines.last().map(Vec::as_slice).unwrap_or_default();
        let line: String = last.iter().map(|span| &*span.text).collect();
        line.ends_with(text.trim_end()) || line.ends_with(text)
    }
}

/// Returns the picture.
pub(super) fn picture(frames: &[Frame], columns: u16) -> String {
    let times = times(frames);
    let total = times.last().copied().unwrap_or_default().as_secs_f32();
    let window = ROWS * HEIGHT + 2 * MARGIN;
    #[allow(clippy::cast_precision_loss, reason = "a screen has few pixels")]
    let width = f32::from(columns).mul_add(WIDTH, 2.0 * MARGIN as f32);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{window}\" \
         viewBox=\"0 0 {width} {window}\" role=\"img\" aria-label=\"A session with bcvk\">\n\
         <style>text{{font:14px ui-monospace,monospace;fill:#e5e7eb}}\
         #strip{{animation:play {total:.2}s steps(1,end) infinite}}\n@keyframes play{{"
    );
    let begins = [Duration::ZERO].into_iter().chain(times.iter().copied());
    for (number, begin) in begins.take(frames.len()).enumerate() {
        let part = 100.0 * begin.as_secs_f32() / total;
        let _ = write!(
            svg,
            "{part:.3}%{{transform:translateY(-{}px)}}",
            number * window
        );
    }
    let _ = writeln!(
        svg,
        "}}</style>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#111827\"/>\n<g id=\"strip\" xml:space=\"preserve\">"
    );
    for (number, frame) in frames.iter().enumerate() {
        add_screen(&mut svg, &frame.lines, number * window);
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// Returns the ends of the frames, with no pause longer than [`STILL`].
fn times(frames: &[Frame]) -> Vec<Duration> {
    let next = frames.iter().skip(1).map(|frame| Some(frame.at));
    let mut now = Duration::ZERO;
    let ends = frames.iter().zip(next.chain([None]));
    ends.map(|(frame, next)| {
        now += next.map_or(LAST, |next| next.saturating_sub(frame.at).min(STILL));
        now
    })
    .collect()
}

fn add_screen(svg: &mut String, lines: &[Vec<Span>], top: usize) {
    let seen = &lines[lines.len().saturating_sub(ROWS)..];
    for (row, line) in seen.iter().enumerate() {
        if line.is_empty() {
            continue;
        }
        let y = top + MARGIN + (row + 1) * HEIGHT - 5;
        let _ = write!(svg, "<text x=\"{MARGIN}\" y=\"{y}\">");
        for span in line {
            add_span(svg, span);
        }
        svg.push_str("</text>\n");
    }
}

fn add_span(svg: &mut String, span: &Span) {
    let Style { bold, dim, colour } = span.style;
    let mut attributes = String::new();
    if bold {
        attributes.push_str(" font-weight=\"bold\"");
    }
    if dim {
        attributes.push_str(" opacity=\"0.7\"");
    }
    if let Some(colour) = colour.and_then(|it| COLOURS.get(usize::from(it))) {
        let _ = write!(attributes, " fill=\"{colour}\"");
    }
    if attributes.is_empty() {
        let _ = escape_html(svg, &span.text);
        return;
    }
    let _ = write!(svg, "<tspan{attributes}>");
    let _ = escape_html(&mut *svg, &span.text);
    svg.push_str("</tspan>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(at: u64, text: &str) -> Frame {
        let style = Style::default();
        let text = text.to_owned();
        Frame {
            at: Duration::from_secs(at),
            lines: vec![vec![Span { style, text }]],
        }
    }

    #[test]
    fn a_pause_is_shown_as_a_second() {
        let frames = [frame(0, "$ "), frame(20, "$ a<b"), frame(21, "$ ")];
        let seconds: Vec<u64> = times(&frames).iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 7]);
        let svg = picture(&frames, 80);
        assert!(svg.contains("a&lt;b"), "{svg}");
        assert_eq!(svg.matches("translateY").count(), 3, "{svg}");
        assert!(svg.contains("play 7.00s"), "{svg}");
    }
}
