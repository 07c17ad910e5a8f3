//! A page of the documentation, as its tests see it.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Returns the top of the source tree.
#[must_use]
pub fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// A Markdown file.
#[derive(Debug)]
pub struct Page {
    /// Path of the page, below [`root`].
    pub path: PathBuf,
    /// Blocks of code, in the page's order.
    pub blocks: Vec<Block>,
    /// Headings, each with its depth and its text.
    pub headings: Vec<(HeadingLevel, String)>,
    /// Destinations of links and pictures, as written.
    pub links: Vec<Link>,
}

/// A block of code.
#[derive(Debug)]
pub struct Block {
    /// The line on which it begins.
    pub line: usize,
    /// Language that the block's fence names; empty for one without a word or without a fence.
    pub language: String,
    /// The code.
    pub text: String,
    /// Instruction on testing the block, from the comment right before it.
    pub mark: Option<Mark>,
}

/// Way of testing a block that differs from others of its language.
#[derive(Debug, PartialEq, Eq)]
pub enum Mark {
    /// `<!-- not run: REASON -->`
    NotRun(String),
    /// `<!-- file: PATH -->`: the block is that file's content.
    File(String),
    /// `<!-- typed: LINE -->`: the block ends in a shell at a terminal, in which LINE is typed.
    Typed(String),
    /// `<!-- exit code: N -->`
    ExitCode(i32),
}

/// A link.
#[derive(Debug)]
pub struct Link {
    /// The line that it is on.
    pub line: usize,
    /// Destination, as written.
    pub target: String,
}

impl Page {
    /// Reads the page at `path` below [`root`].
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn read(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let text = fs::read_to_string(root().join(path))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self::parse(path, &text)
    }

    /// Parses a page with this text.
    #[must_use]
    pub fn parse(path: impl Into<PathBuf>, text: &str) -> Self {
        let mut page = Self {
            path: path.into(),
            blocks: Vec::new(),
            headings: Vec::new(),
            links: Vec::new(),
        };
        let line = |offset: usize| text[..offset].matches('\n').count() + 1;
        let mut mark = None;
        let mut heading = None;
        let mut in_block = false;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Html(html) => mark = Mark::parse(&html).or(mark),
                Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => {}
                Event::Start(Tag::CodeBlock(kind)) => {
                    in_block = true;
                    page.blocks.push(Block {
                        line: line(range.start),
                        language: language(&kind),
                        text: String::new(),
                        mark: mark.take(),
                    });
                }
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Text(part) if in_block => {
                    if let Some(block) = page.blocks.last_mut() {
                        block.text.push_str(&part);
                    }
                }
                Event::Start(Tag::Heading { level, .. }) => heading = Some((level, String::new())),
                Event::End(TagEnd::Heading(_)) => page.headings.extend(heading.take()),
                Event::Text(part) | Event::Code(part) if heading.is_some() => {
                    if let Some((_, text)) = &mut heading {
                        text.push_str(&part);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(Link {
                        line: line(range.start),
                        target: dest_url.into_string(),
                    });
                    mark = None;
                }
                _ => mark = None,
            }
        }
        page
    }

    /// Lists the blocks that do not say properly what they are, one line for each.
    #[must_use]
    pub fn unclear_blocks(&self) -> Vec<String> {
        let complaint = |block: &Block| {
            let language = block.language.as_str();
            Some(match &block.mark {
                _ if language.is_empty() => "does not say what it is: sh, console, text, …",
                _ if ["bash", "shell", "shell-session"].contains(&language) => {
                    "is a shell's: call it sh or console"
                }
                Some(Mark::NotRun(reason)) if reason.split_whitespace().count() < 2 => {
                    "is not run, and does not say why"
                }
                Some(Mark::Typed(_) | Mark::ExitCode(_)) if language != "sh" => {
                    "has a mark that is for blocks of sh"
                }
                _ if language == "console" && !block.text.starts_with("$ ") => {
                    "has no command: `$ COMMAND`"
                }
                _ => return None,
            })
        };
        self.blocks
            .iter()
            .filter_map(|block| {
                let complaint = complaint(block)?;
                Some(format!(
                    "{}:{}: the block {complaint}",
                    self.path.display(),
                    block.line
                ))
            })
            .collect()
    }

    /// Returns the words that may stand after `#` in a link to this page.
    #[must_use]
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for (_, heading) in &self.headings {
            let anchor = anchor(heading);
            let before = anchors
                .iter()
                .filter(|known| {
                    known.strip_prefix(&anchor).is_some_and(|rest| {
                        rest.is_empty() || rest.trim_start_matches('-').parse::<u32>().is_ok()
                    })
                })
                .count();
            anchors.push(match before {
                0 => anchor,
                n => format!("{anchor}-{n}"),
            });
        }
        anchors
    }
}

impl Mark {
    fn parse(html: &str) -> Option<Self> {
        let comment = html.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
        let (word, value) = comment.split_once(':')?;
        let value = value.trim();
        Some(match word.trim() {
            "not run" => Self::NotRun(value.to_owned()),
            "file" => Self::File(value.to_owned()),
            "typed" => Self::Typed(value.to_owned()),
            "exit code" => Self::ExitCode(value.parse().ok()?),
            _ => return None,
        })
    }
}

fn language(kind: &CodeBlockKind<'_>) -> String {
    match kind {
        CodeBlockKind::Indented => String::new(),
        CodeBlockKind::Fenced(info) => info.split([' ', ',']).next().unwrap_or_default().to_owned(),
    }
}

/// Makes the anchor of a heading as forges and mdBook do.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => c.to_lowercase().next(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_marks_and_headings_are_found() {
        let page = Page::parse(
            "p.md",
            "# A `b`: c\n\n<!-- file: x -->\n```ini\n[A]\n```\n\n<!-- file: y -->\n\nText\n\n```sh\nls\n```\n\n    indented\n\n# A `b`: c\n",
        );
        let blocks: Vec<_> = page
            .blocks
            .iter()
            .map(|b| (b.line, b.language.as_str(), b.text.as_str()))
            .collect();
        assert_eq!(
            blocks,
            [
                (4, "ini", "[A]\n"),
                (12, "sh", "ls\n"),
                (16, "", "indented\n")
            ]
        );
        assert_eq!(page.blocks[0].mark, Some(Mark::File("x".to_owned())));
        assert_eq!(page.blocks[1].mark, None);
        assert_eq!(page.anchors(), ["a-b-c", "a-b-c-1"]);
    }

    #[test]
    fn a_block_must_say_what_it_is() {
        for (text, wrong) in [
            ("```sh\nls\n```\n", false),
            ("```console\n$ ls\n```\n", false),
            ("```text\nls\n```\n", false),
            ("<!-- not run: needs a cluster -->\n```sh\nls\n```\n", false),
            ("<!-- not run: no -->\n```sh\nls\n```\n", true),
            ("<!-- not run: -->\n```sh\nls\n```\n", true),
            ("<!-- exit code: 1 -->\n```yaml\nls\n```\n", true),
            ("```bash\nls\n```\n", true),
            ("```\nls\n```\n", true),
            ("```console\nls\n```\n", true),
            ("    ls\n", true),
        ] {
            let complaints = Page::parse("p.md", text).unclear_blocks();
            assert_eq!(!complaints.is_empty(), wrong, "{text}: {complaints:?}");
        }
    }
}
