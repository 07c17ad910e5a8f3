//! Entries of a guest's journal, as `journalctl -o json` writes them. The guest is not trusted:
//! everything that is kept is bounded and clean.

use serde_json::{Map, Value};

use super::clean;

/// Most entries that are kept.
const MAX_ENTRIES: usize = 100_000;

/// Longest message that is kept, in characters.
const MAX_MESSAGE: usize = 1000;

/// Most units that one entry may be about.
const MAX_ABOUT: usize = 64;

/// Lowest of syslog's priorities that there are (`syslog(3)`).
const INFO: u8 = 6;

/// One entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Priority, from 0 (emergency) to 7 (debug).
    pub(super) priority: u8,
    /// Unit of the process that wrote the entry.
    pub(super) unit: String,
    /// Units that systemd wrote the entry about.
    pub(super) about: Vec<String>,
    /// Name of the program, as it calls itself.
    pub(super) program: String,
    /// True if the kernel wrote the entry.
    pub(super) kernel: bool,
    pub(super) message: String,
}

impl Entry {
    /// Returns true if the entry is one of `unit`'s, or about it.
    pub(super) fn concerns(&self, unit: &str) -> bool {
        self.unit == unit || self.about.iter().any(|about| about == unit)
    }

    /// Returns the entry as a line for people.
    pub(super) fn line(&self) -> String {
        format!("{}: {}", self.program, self.message)
    }

    fn of(fields: &Map<String, Value>) -> Option<Self> {
        let all = |name: &str| fields.get(name).map(texts).unwrap_or_default();
        let first = |name: &str| all(name).into_iter().next().unwrap_or_default();
        let message = clean(&first("MESSAGE"), MAX_MESSAGE);
        if message.is_empty() {
            return None;
        }
        let program = clean(&first("SYSLOG_IDENTIFIER"), 64);
        let mut about: Vec<String> = all("UNIT").iter().map(|unit| clean(unit, 255)).collect();
        about.truncate(MAX_ABOUT);
        Some(Self {
            priority: first("PRIORITY").parse().unwrap_or(INFO),
            unit: clean(&first("_SYSTEMD_UNIT"), 255),
            about,
            // systemd in the initramfs writes to the kernel's log too, under its own name.
            kernel: first("_TRANSPORT") == "kernel" && program == "kernel",
            program,
            message,
        })
    }
}

/// Reads lines of JSON; those that are no entry are ignored.
pub(super) fn entries(text: &str) -> Vec<Entry> {
    let objects = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    objects
        .filter_map(|fields| Entry::of(&fields))
        .take(MAX_ENTRIES)
        .collect()
}

/// Returns the values of a field: text, bytes where it is not all printable, or a list of either
/// (systemd.io/JOURNAL_EXPORT_FORMATS, Journal JSON Format).
fn texts(value: &Value) -> Vec<String> {
    match (text(value), value) {
        (Some(text), _) => vec![text],
        (None, Value::Array(values)) => values.iter().filter_map(text).collect(),
        (None, _) => Vec::new(),
    }
}

/// Returns one value of a field with several.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(values) => bytes(values).map(|b| String::from_utf8_lossy(&b).into_owned()),
        _ => None,
    }
}

fn bytes(values: &[Value]) -> Option<Vec<u8>> {
    let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
    values.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_text_bytes_or_lists() {
        let text = r#"
{"MESSAGE":"plain\ntwo","PRIORITY":"3","_SYSTEMD_UNIT":"a.service","SYSLOG_IDENTIFIER":"a"}
{"MESSAGE":[27,91,51,49,109,114,101,100,255],"SYSLOG_IDENTIFIER":"sh"}
{"MESSAGE":"cycle","UNIT":["b.service","c.service"],"SYSLOG_IDENTIFIER":"systemd"}
{"MESSAGE":[["bytes"],[104,105]],"_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"kernel"}
{"MESSAGE":"in the initramfs","_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"systemd"}
{"MESSAGE":null}
{"MESSAGE":""}
[1]
{
"#;
        let entries = entries(text);
        let messages: Vec<&str> = entries.iter().map(|entry| &*entry.message).collect();
        assert_eq!(
            messages,
            [
                "plain two",
                "red\u{fffd}",
                "cycle",
                "hi",
                "in the initramfs"
            ]
        );
        let [plain, red, cycle, kernel, early] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!((plain.priority, red.priority), (3, 6));
        assert!(plain.concerns("a.service") && cycle.concerns("c.service"));
        assert!(kernel.kernel && !early.kernel);
    }

    #[test]
    fn a_message_has_a_bound() {
        let long = format!(r#"{{"MESSAGE":"{}"}}"#, "x".repeat(5000));
        let entries = entries(&long);
        assert_eq!(entries[0].message.chars().count(), MAX_MESSAGE);
        assert!(entries[0].message.ends_with('…'));
    }
}
