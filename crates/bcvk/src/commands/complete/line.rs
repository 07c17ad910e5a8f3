//! A command line of a shell, as far as it is typed.

/// Words of a command line. The last is the one that is being typed, which may be empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) words: Vec<String>,
    /// Bytes of the last word that readline leaves alone: it replaces only what follows one of its
    /// breaks, or an opening quote.
    pub(super) kept: usize,
    /// The quote that is open at the end.
    pub(super) quote: Option<char>,
}

/// Splits a line as a shell does. Variables and the like are left as they are.
pub(super) fn split(text: &str, breaks: &str) -> Line {
    let mut words = Vec::new();
    let (mut word, mut begun, mut kept) = (String::new(), false, 0);
    let mut quote: Option<(char, usize)> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some((open, before)), _) if c == open => {
                quote = None;
                // The quotes are closed, and their content belongs to the word again.
                kept = before;
            }
            (None, '\'' | '"') => {
                quote = Some((c, kept));
                begun = true;
                kept = word.len();
            }
            (None, '\\') => {
                word.extend(chars.next());
                begun = true;
            }
            (Some(('"', _)), '\\') => match chars.next() {
                Some(next @ ('"' | '\\' | '$' | '`')) => word.push(next),
                next => {
                    word.push('\\');
                    word.extend(next);
                }
            },
            (None, _) if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                (begun, kept) = (false, 0);
            }
            _ => {
                word.push(c);
                begun = true;
                if quote.is_none() && breaks.contains(c) {
                    kept = word.len();
                }
            }
        }
    }
    words.push(word);
    Line {
        words,
        kept,
        quote: quote.map(|(c, _)| c),
    }
}

/// Quotes `text` so that, when typed, it is a part of one word.
pub(super) fn quoted(text: &str, quote: Option<char>) -> String {
    let special = match quote {
        Some('"') => "\"\\$`",
        Some(_) => "",
        None => " \t'\"\\$`&;|<>()*?[]{}!#~",
    };
    let mut typed = String::new();
    for c in text.chars() {
        if special.contains(c) {
            typed.push('\\');
        }
        typed.push(c);
    }
    typed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_shells_and_readline_do() {
        let breaks = " \t\n\"'><=;|&(:";
        for (text, words, kept, quote) in [
            ("bcvk ", &["bcvk", ""][..], 0, None),
            ("bcvk  ephemeral ru", &["bcvk", "ephemeral", "ru"], 0, None),
            ("run localhost/os:tr", &["run", "localhost/os:tr"], 13, None),
            ("run --itype=u1.", &["run", "--itype=u1."], 8, None),
            ("run 'a b' 'c d", &["run", "a b", "c d"], 0, Some('\'')),
            ("run --bind=\"/a b", &["run", "--bind=/a b"], 7, Some('"')),
            ("run x='a:b'c", &["run", "x=a:bc"], 2, None),
            (r"run a\ b\:c", &["run", "a b:c"], 0, None),
            (r#"run "a\"b\c"#, &["run", r#"a"b\c"#], 0, Some('"')),
            ("run '' ", &["run", "", ""], 0, None),
            ("run é:", &["run", "é:"], 3, None),
        ] {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(split(text, breaks), Line { words, kept, quote }, "{text}");
        }
    }

    #[test]
    fn quoted_text_is_split_into_itself() {
        for text in ["a b", "it's $5 (\"#1\")", r"back\slash", "plain:1"] {
            assert_eq!(split(&quoted(text, None), "").words, [text]);
            let quoted = quoted(text, Some('"'));
            assert_eq!(split(&format!("\"{quoted}"), "").words, [text]);
        }
    }
}
