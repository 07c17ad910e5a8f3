//! The screen as tmux tells it: lines with the sequences of ECMA-48 that select how text looks ("SGR").

/// Colour and weight of text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) bold: bool,
    pub(super) dim: bool,
    /// One of the sixteen colours.
    pub(super) colour: Option<u8>,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) style: Style,
    pub(super) text: String,
}

/// Returns the lines of a screen, without blanks at their ends but for the last one's, which may be a
/// prompt, and without empty lines at its end. A style goes on in the next line.
pub(super) fn lines(screen: &str) -> Vec<Vec<Span>> {
    let mut style = Style::default();
    let mut lines: Vec<Vec<Span>> = screen.lines().map(|line| spans(line, &mut style)).collect();
    while lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}

fn spans(line: &str, style: &mut Style) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut pieces = line.split("\u{1b}[");
    let mut add = |text: &str, style: Style| {
        if !text.is_empty() {
            let text = text.to_owned();
            spans.push(Span { style, text });
        }
    };
    add(pieces.next().unwrap_or_default(), *style);
    for piece in pieces {
        let end = piece.find(|c: char| c.is_ascii_alphabetic());
        let (sequence, text) = piece.split_at(end.map_or(piece.len(), |at| at + 1));
        if let Some(numbers) = sequence.strip_suffix('m') {
            *style = changed(*style, numbers);
        }
        add(text, *style);
    }
    spans
}

/// Returns the style after these numbers.
fn changed(mut style: Style, numbers: &str) -> Style {
    for number in numbers.split(';') {
        match number.parse().unwrap_or(0) {
            0 => style = Style::default(),
            1 => style.bold = true,
            2 => style.dim = true,
            22 => (style.bold, style.dim) = (false, false),
            39 => style.colour = None,
            colour @ 30..=37 => style.colour = Some(colour - 30),
            colour @ 90..=97 => style.colour = Some(colour - 90 + 8),
            _ => {}
        }
    }
    style
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_make_styles() {
        let lines =
            lines("plain \u{1b}[1;32mgreen\u{1b}[0m\nno \u{1b}[91mred\nstill\u{1b}[39m not\n\n");
        let told: Vec<Vec<_>> = lines
            .iter()
            .map(|line| {
                let told = |it: &Span| (it.text.clone(), it.style.bold, it.style.colour);
                line.iter().map(told).collect()
            })
            .collect();
        let span = |text: &str, bold, colour| (text.to_owned(), bold, colour);
        assert_eq!(
            told,
            [
                vec![span("plain ", false, None), span("green", true, Some(2))],
                vec![span("no ", false, None), span("red", false, Some(9))],
                vec![span("still", false, Some(9)), span(" not", false, None)],
            ]
        );
    }
}
