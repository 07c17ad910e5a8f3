//! Text of a guest, as a terminal may show it.

use std::mem;

/// Returns `line` without control characters: a guest's text must not steer the user's terminal.
#[must_use]
pub fn printable(line: &str) -> String {
    let mut escape = Escape::default();
    line.chars().filter_map(|c| escape.step(c)).collect()
}

/// Decoder of text that comes in pieces: a character may begin in one and end in the next. Bytes
/// that are no UTF-8 become U+FFFD.
#[derive(Debug, Default)]
pub struct TextStream {
    /// The first bytes of a character whose last have not come yet.
    begun: Vec<u8>,
}

impl TextStream {
    /// Returns the text of the next piece.
    pub fn feed(&mut self, bytes: &[u8]) -> String {
        let mut all = mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let rest = chunk.invalid();
            let may_go_on = str::from_utf8(rest).is_err_and(|e| e.error_len().is_none());
            if chunks.peek().is_none() && may_go_on {
                self.begun = rest.to_vec();
            } else if !rest.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }

    /// Returns what is left where no further piece comes.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&mem::take(&mut self.begun)).into_owned()
    }
}

/// Filter for text that comes in pieces, which passes what a terminal may show: lines stay lines,
/// and an escape sequence may begin in one piece and end in the next.
#[derive(Debug, Default)]
pub struct PrintableStream {
    text: TextStream,
    escape: Escape,
}

impl PrintableStream {
    /// Returns what may be shown of the next piece.
    pub fn feed(&mut self, bytes: &[u8]) -> String {
        let mut shown = String::new();
        for c in self.text.feed(bytes).chars() {
            self.push(c, &mut shown);
        }
        shown
    }

    fn push(&mut self, c: char, text: &mut String) {
        if c == '\n' {
            self.escape = Escape::None;
            text.push(c);
        } else {
            text.extend(self.escape.step(c));
        }
    }
}

/// Returns true if a terminal obeys `c` instead of showing it: control characters, and those that
/// change the order in which text is read (Unicode Standard Annex 9, section 2) or where a line
/// ends.
#[must_use]
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
}

/// Place within an escape sequence that the text is at (ECMA-48, 5.3, 5.4 and 5.6).
#[derive(Debug, Default, Clone, Copy)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// After CSI: parameters and intermediates until one final byte.
    Control,
    /// After OSC, which terminals also let BEL end: a title, a colour, whatever a guest puts there.
    Command,
}

impl Escape {
    fn step(&mut self, c: char) -> Option<char> {
        match (mem::take(self), c) {
            (Self::Begun, '[') | (Self::Control, '\u{20}'..='\u{3f}') => *self = Self::Control,
            // The shortest sequences have a final byte only, but for `[` and `]`. systemd goes up a
            // row by one of them; `\` is the rest of ST, which ends a command.
            (Self::Control, '\u{40}'..='\u{7e}')
            | (Self::Begun, '\u{30}'..='\u{5c}' | '\u{5e}'..='\u{7e}')
            | (Self::Command, '\u{7}' | '\u{9c}') => {}
            (_, '\u{1b}') | (Self::Begun, '\u{20}'..='\u{2f}') => *self = Self::Begun,
            (Self::Begun, ']') | (Self::Command, _) => *self = Self::Command,
            (_, '\t') => return Some(' '),
            (_, c) => return (!steers(c)).then_some(c),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: [(&str, &str); 12] = [
        ("plain", "plain"),
        ("\u{1b}[1;31mFAILED\u{1b}[0m unit", "FAILED unit"),
        ("\u{1b}]0;title\u{7}x", "x"),
        ("\u{1b}]104\u{1b}\\x", "x"),
        ("\u{1b}]8;;never ended", ""),
        ("a\rb\tc\u{9b}31m", "ab c31m"),
        ("\u{1b}[", ""),
        ("\u{1b}cx", "x"),
        ("\u{1b}M[ OK ]", "[ OK ]"),
        ("\u{1b}(Bx", "x"),
        ("größe ✓", "größe ✓"),
        (
            "\u{202e}gpj\u{202c}.exe\u{2066}x\u{2069}\u{2028}y",
            "gpj.exexy",
        ),
    ];

    #[test]
    fn a_guest_cannot_steer_the_terminal() {
        for (raw, clean) in CASES {
            assert_eq!(printable(raw), clean, "{raw:?}");
        }
        assert_eq!(printable("two\nlines"), "twolines");
    }

    #[test]
    fn pieces_of_any_size_give_the_same_lines() {
        let raw: String = CASES.iter().map(|(raw, _)| format!("{raw}\r\n")).collect();
        let clean: String = CASES
            .iter()
            .map(|(_, clean)| format!("{clean}\n"))
            .collect();
        for size in 1..=raw.len() {
            let mut stream = PrintableStream::default();
            let shown: String = raw
                .as_bytes()
                .chunks(size)
                .map(|b| stream.feed(b))
                .collect();
            assert_eq!(shown, clean, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_text_is_marked() {
        let mut stream = PrintableStream::default();
        assert_eq!(stream.feed(b"a\xffb\xe2\x9c"), "a\u{fffd}b");
        assert_eq!(stream.feed(b"\x93\xe2"), "✓");
        assert_eq!(stream.feed(b"x"), "\u{fffd}x");
        let mut text = TextStream::default();
        assert_eq!(text.feed(b"\x1b[1m\xe2\x9c"), "\u{1b}[1m");
        assert_eq!(
            (text.finish(), text.finish()),
            ("\u{fffd}".into(), String::new())
        );
    }
}
