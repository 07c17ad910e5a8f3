//! Markdown as `docs/man` has it → roff, in the macros of man(7).

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, roman};

/// Parts of a page's first line that its text does not give.
#[derive(Debug)]
pub(super) struct Title<'a> {
    /// Name of the page, such as `bcvk-ephemeral-run`.
    pub(super) name: &'a str,
    /// Section, such as `8`.
    pub(super) section: &'a str,
    /// Date, such as `2025-01-31`, or nothing.
    pub(super) date: &'a str,
    /// Program and version, such as `bcvk 0.1.0`.
    pub(super) source: &'a str,
}

/// Indentation of examples and of what belongs to an item.
const INDENT: &str = "4";

/// Makes a manual page. Markup that the pages have no need of, such as tables and links, is an
/// error: it would be lost.
pub(super) fn page(title: &Title<'_>, markdown: &str) -> Result<String, String> {
    let mut writer = Writer::default();
    // If an argument were missing, the next one would take its place.
    let date = if title.date.is_empty() {
        "\"\""
    } else {
        title.date
    };
    writer.control("TH", &[title.name, title.section, date, title.source]);
    // Commands and options must not be broken, and terminals are no place for straight right margins.
    writer.control("nh", &[]);
    writer.control("ad", &["l"]);
    for event in Parser::new_ext(markdown, Options::ENABLE_DEFINITION_LIST) {
        writer.event(event)?;
    }
    // Typeset, these characters would be accents.
    let glyphs = [("~", "\\(ti"), ("^", "\\(ha"), ("`", "\\(ga")];
    let roff = writer.roff.render();
    Ok(glyphs
        .iter()
        .fold(roff, |roff, (c, glyph)| roff.replace(c, glyph)))
}

/// A page as far as it is written.
#[derive(Default)]
struct Writer {
    roff: Roff,
    /// The words of the paragraph, heading or term that is being read.
    line: Vec<Inline>,
    font: Font,
    /// True in an example, whose lines are kept as they are.
    verbatim: bool,
    /// Lists that the text being read is in, the innermost last.
    within: Vec<List>,
    /// True if the next paragraph follows a heading or its item's mark, and needs none of its own.
    at_mark: bool,
}

#[derive(Default, Clone, Copy)]
enum Font {
    #[default]
    Roman,
    Bold,
    Italic,
}

enum List {
    Bullets,
    Numbers(u64),
    Terms,
}

impl Writer {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(tag) => self.start(&tag)?,
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.verbatim => {
                for line in text.lines() {
                    self.roff.text([roman(line)]);
                }
            }
            Event::Text(text) => self.line.push(match self.font {
                Font::Roman => roman(text.as_ref()),
                Font::Bold => bold(text.as_ref()),
                Font::Italic => italic(text.as_ref()),
            }),
            Event::Code(text) => self.line.push(bold(text.as_ref())),
            Event::SoftBreak => self.line.push(roman(" ")),
            // HTML is a comment here.
            Event::Html(_) => {}
            other => return Err(format!("no manual page has {other:?}")),
        }
        Ok(())
    }

    fn start(&mut self, tag: &Tag<'_>) -> Result<(), String> {
        match tag {
            Tag::Paragraph => self.begin_paragraph(),
            Tag::Strong => self.font = Font::Bold,
            Tag::Emphasis => self.font = Font::Italic,
            Tag::List(first) => self.begin_list(first.map_or(List::Bullets, List::Numbers)),
            Tag::DefinitionList => self.begin_list(List::Terms),
            Tag::Item => {
                // The items of a tight list are their text, without paragraphs around it.
                self.flush();
                self.mark();
            }
            Tag::DefinitionListTitle => self.control("TP", &[]),
            Tag::DefinitionListDefinition => self.at_mark = true,
            Tag::CodeBlock(_) => {
                self.begin_paragraph();
                self.control("RS", &[INDENT]);
                self.control("nf", &[]);
                self.verbatim = true;
            }
            Tag::Heading { .. } | Tag::HtmlBlock => {}
            other => return Err(format!("no manual page has {other:?}")),
        }
        Ok(())
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong | TagEnd::Emphasis => self.font = Font::Roman,
            TagEnd::Heading(level) => self.heading(level),
            TagEnd::List(_) | TagEnd::DefinitionList => {
                self.flush();
                self.within.pop();
                if !self.within.is_empty() {
                    self.control("RE", &[]);
                }
            }
            TagEnd::CodeBlock => {
                self.verbatim = false;
                self.control("fi", &[]);
                self.control("RE", &[]);
            }
            _ => self.flush(),
        }
    }

    fn heading(&mut self, level: HeadingLevel) {
        let name = if level == HeadingLevel::H1 {
            "SH"
        } else {
            "SS"
        };
        let words = std::mem::take(&mut self.line);
        let plain = words.into_iter().map(|word| match word {
            Inline::Roman(text) | Inline::Bold(text) | Inline::Italic(text) => text,
            Inline::LineBreak => " ".to_owned(),
        });
        self.control(name, &[&plain.collect::<String>()]);
        self.at_mark = true;
    }

    fn begin_paragraph(&mut self) {
        if std::mem::take(&mut self.at_mark) {
            return;
        }
        // Without an argument, IP goes on at the indentation of the item before it.
        let name = if self.within.is_empty() { "PP" } else { "IP" };
        self.control(name, &[]);
    }

    fn begin_list(&mut self, list: List) {
        self.flush();
        if !self.within.is_empty() {
            self.control("RS", &[]);
        }
        self.within.push(list);
    }

    fn mark(&mut self) {
        let (mark, width) = match self.within.last_mut() {
            Some(List::Numbers(next)) => {
                *next += 1;
                (format!("{}.", *next - 1), INDENT)
            }
            // This is roff's name of a bullet; an argument is not escaped.
            _ => ("\\(bu".to_owned(), "2"),
        };
        self.control("IP", &[&mark, width]);
        self.at_mark = true;
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.at_mark = false;
            let line = std::mem::take(&mut self.line);
            self.roff.text(line);
        }
    }

    fn control(&mut self, name: &str, arguments: &[&str]) {
        self.roff.control(name, arguments.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLE: Title<'_> = Title {
        name: "vm",
        section: "8",
        date: "",
        source: "bcvk 1",
    };

    /// Removes the lines that every page begins with.
    fn body(markdown: &str) -> String {
        let page = page(&TITLE, markdown).expect("a page");
        let (_, body) = page
            .split_once(".TH vm 8 \"\" \"bcvk 1\"\n.nh\n.ad l\n")
            .expect("a title");
        body.to_owned()
    }

    #[test]
    fn what_pages_have_is_written_in_mans_macros() {
        let markdown = "\
# NAME

vm - It's *one* of
**ours**, `a\\b`

## Both of them

**-x** *N*

:   First
    of two

    Second, ~/x

    1. one
    2. two

After

    .not a request
";
        let expected = "\
.SH NAME
vm \\- It\\*(Aqs \\fIone\\fR of \\fBours\\fR, \\fBa\\\\b\\fR
.SS \"Both of them\"
.TP
\\fB\\-x\\fR \\fIN\\fR
First of two
.IP
Second, \\(ti/x
.RS
.IP 1. 4
one
.IP 2. 4
two
.RE
.PP
After
.PP
.RS 4
.nf
\\&.not a request
.fi
.RE
";
        assert_eq!(body(markdown), expected);
    }

    #[test]
    fn what_would_be_lost_is_an_error() {
        for markdown in ["[a](b)", "a<b>c", "> quoted", "***"] {
            assert!(page(&TITLE, markdown).is_err(), "{markdown}");
        }
    }
}
