//! Text in XML.

use bcvk_contract::status::steers;

/// Escapes a line of text for XML's elements and attributes (XML 1.0, 2.2 and 2.4). Characters that XML
/// cannot have at all, and those that steer a terminal, are left out.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if steers(c) => {}
            c => escaped.push(c),
        }
    }
    escaped
}
