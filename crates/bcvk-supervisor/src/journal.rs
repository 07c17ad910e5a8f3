//! The guest's journal, passed on as whole entries or as text.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::mem;

use bcvk_contract::status::printable;
use serde_json::Value;

/// Longest entry that is shown; journald's own limit for a line is 48 KiB.
const MAX_LINE_BYTES: usize = 256 * 1024;

/// Passes entries on as they are, but only whole ones: a guest that ends leaves a part of its last
/// entry, which no reader of JSON accepts.
pub(super) struct WholeEntries<W> {
    out: W,
    part: Vec<u8>,
}

impl<W: Write> WholeEntries<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            part: Vec::new(),
        }
    }
}

impl<W: Write> Write for WholeEntries<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        let (whole, part) = bytes.split_at(whole.map_or(0, |last| last + 1));
        // A longer entry is passed on before it is whole, so that it need not be kept.
        if !whole.is_empty() || self.part.len() > MAX_LINE_BYTES {
            self.out.write_all(&mem::take(&mut self.part))?;
            self.out.write_all(whole)?;
        }
        self.part.extend_from_slice(part);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Takes entries as `journalctl -o json` writes them and passes them on as
/// `journalctl -o short-monotonic` would show them.
pub(super) struct JournalText<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> JournalText<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            line: Vec::new(),
        }
    }
}

impl<W: Write> Write for JournalText<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if byte == b'\n' {
                let line = mem::take(&mut self.line);
                if let Some(text) = text(&line) {
                    self.out.write_all(text.as_bytes())?;
                }
            } else if self.line.len() < MAX_LINE_BYTES {
                self.line.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Returns one entry as text; `None` if `line` is no entry.
fn text(line: &[u8]) -> Option<String> {
    let entry: Value = serde_json::from_slice(line).ok()?;
    let field = |key: &str| entry.get(key).and_then(Value::as_str);
    let message = message(entry.get("MESSAGE")?)?;
    // The kernel's messages have an earlier time of their own: they were there long before journald.
    let time = field("_SOURCE_MONOTONIC_TIMESTAMP").or_else(|| field("__MONOTONIC_TIMESTAMP"));
    let micros: u64 = time.and_then(|t| t.parse().ok())?;
    let who = field("SYSLOG_IDENTIFIER")
        .or_else(|| field("_COMM"))
        .unwrap_or("unknown");
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let mut text = format!("[{seconds:5}.{micros:06}] {}", printable(who));
    if let Some(pid) = field("_PID").or_else(|| field("SYSLOG_PID")) {
        // Writing into a String cannot fail.
        let _ = write!(text, "[{}]", printable(pid));
    }
    text.push(':');
    // An empty message has a line too.
    for line in message.split('\n') {
        let _ = writeln!(text, " {}", printable(line));
    }
    Some(text)
}

/// Returns the message, which is a text, or the bytes of one that is not UTF-8 (systemd,
/// JOURNAL_EXPORT_FORMATS, "Journal JSON Format").
fn message(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(bytes) => {
            let bytes: Option<Vec<u8>> = bytes
                .iter()
                .map(|byte| byte.as_u64().and_then(|b| u8::try_from(b).ok()))
                .collect();
            Some(String::from_utf8_lossy(&bytes?).into_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_entry_is_not_passed_on() {
        let mut out = Vec::new();
        let mut entries = WholeEntries::new(&mut out);
        for bytes in ["{\"a\"", ":1}\n{}\n{\"b", "\":2}\n", "{\"cut"] {
            entries.write_all(bytes.as_bytes()).expect("write");
        }
        assert_eq!(String::from_utf8_lossy(&out), "{\"a\":1}\n{}\n{\"b\":2}\n");
    }

    #[test]
    fn an_endless_entry_is_passed_on_and_not_kept() {
        let mut out = Vec::new();
        let mut entries = WholeEntries::new(&mut out);
        for _ in 0..10 {
            entries
                .write_all(&vec![b'x'; MAX_LINE_BYTES])
                .expect("write");
            assert!(entries.part.len() <= 2 * MAX_LINE_BYTES);
        }
        assert!(out.len() >= 8 * MAX_LINE_BYTES);
    }

    #[test]
    fn entries_become_lines() {
        let mut out = Vec::new();
        let mut journal = JournalText::new(&mut out);
        for piece in [
            r#"{"__MONOTONIC_TIMESTAMP":"1234567","SYSLOG_IDENTIFIER":"systemd","_PID":"1","MES"#,
            "SAGE\":\"Started \\u001b[1mx\\u001b[0m.\"}\n{\"MESSAGE\":null}\nno JSON\n",
            "{\"__MONOTONIC_TIMESTAMP\":\"13000000\",\"_SOURCE_MONOTONIC_TIMESTAMP\":\"12000000\",\"_COMM\":\"sh\",\"MESSAGE\":[104,105,255]}\n",
        ] {
            journal.write_all(piece.as_bytes()).expect("write");
        }
        assert_eq!(
            String::from_utf8_lossy(&out),
            "[    1.234567] systemd[1]: Started x.\n[   12.000000] sh: hi\u{fffd}\n"
        );
    }
}
