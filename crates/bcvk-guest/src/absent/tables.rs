//! Tables of file systems and encrypted devices: fstab(5) and crypttab(5).

use std::path::Path;

use super::devices::{Machine, Presence};

/// A table without what is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Table {
    /// Text of the table; `None` if it is the image's.
    pub(crate) text: Option<String>,
    /// Names of the entries that are left out and that the boot would have waited for.
    pub(crate) names: Vec<String>,
}

/// An entry of `/etc/fstab`.
struct Entry<'t> {
    fields: Vec<&'t str>,
    what: String,
    place: String,
}

impl<'t> Entry<'t> {
    /// Parses a line; `None` if it has no entry.
    fn parse(line: &'t str) -> Option<Self> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if fields.first()?.starts_with('#') || fields.len() < 2 {
            return None;
        }
        Some(Self {
            what: unescape(fields[0]),
            place: unescape(fields[1]),
            fields,
        })
    }

    fn kind(&self) -> &str {
        self.fields.get(2).copied().unwrap_or("auto")
    }

    fn options(&self) -> impl Iterator<Item = &'t str> {
        self.fields.get(3).copied().unwrap_or("defaults").split(',')
    }

    fn has(&self, option: &str) -> bool {
        self.options().any(|known| known == option)
    }

    fn is_swap(&self) -> bool {
        self.kind() == "swap"
    }

    /// Returns true if the entry is for somebody who mounts it later.
    fn is_idle(&self) -> bool {
        self.has("noauto") && !self.has("x-systemd.automount")
    }

    /// Returns true if the entry mounts something from or in one of `places`.
    fn is_below(&self, places: &[String]) -> bool {
        let below = |path: &str| places.iter().any(|dir| Path::new(path).starts_with(dir));
        below(&self.what) || below(&self.place)
    }

    fn name(&self) -> String {
        let Self { what, place, .. } = self;
        if self.is_swap() {
            format!("swap on {what}")
        } else {
            format!("{place} on {what}")
        }
    }

    /// Returns the line of an entry whose device may be there: it is waited for, in the same order,
    /// but no longer than for any device, and the boot goes on without it.
    fn optional(&self) -> String {
        let mut options: Vec<&str> = self
            .options()
            .filter(|option| !option.starts_with("x-systemd.device-timeout="))
            .collect();
        if !self.has("nofail") {
            options.push("nofail");
            let ordered = "x-systemd.before=local-fs.target";
            options.extend((!self.is_swap()).then_some(ordered));
        }
        let options = options.join(",");
        let rest = self.fields.get(4..).unwrap_or_default();
        let mut fields = vec![self.fields[0], self.fields[1], self.kind(), &options];
        fields.extend(rest);
        fields.join(" ")
    }
}

/// Returns `/etc/fstab` without what `machine` lacks, and without an entry for the root, which is the
/// image itself.
pub(super) fn fstab(text: &str, machine: &Machine) -> Table {
    let mut lines = Vec::new();
    let mut names = Vec::new();
    // A file system that is mounted from or in another one of the table is as absent as that one.
    let mut absent: Vec<String> = Vec::new();
    let mut possible: Vec<String> = Vec::new();
    for line in text.split_terminator('\n') {
        let Some(entry) = Entry::parse(line).filter(|entry| !entry.is_idle()) else {
            lines.push(line.to_owned());
            continue;
        };
        let presence = match machine.has_source(&entry.what, entry.kind()) {
            Presence::Present if entry.is_below(&possible) => Presence::Possible,
            presence => presence,
        };
        let follows = entry.is_below(&absent);
        if entry.place == "/" || follows {
            let is_told = follows || presence != Presence::Present;
            names.extend((is_told && !entry.has("nofail")).then(|| entry.name()));
            continue;
        }
        match presence {
            Presence::Present => lines.push(line.to_owned()),
            Presence::Possible => {
                lines.push(entry.optional());
                possible.extend((!entry.is_swap()).then_some(entry.place));
            }
            Presence::Absent => {
                if !entry.has("nofail") {
                    names.push(entry.name());
                }
                if !entry.is_swap() {
                    absent.push(entry.place);
                }
            }
        }
    }
    Table::new(text, &lines, names)
}

/// Returns `/etc/crypttab` without what `machine` lacks.
pub(super) fn crypttab(text: &str, machine: &Machine) -> Table {
    let mut lines = Vec::new();
    let mut names = Vec::new();
    for line in text.split_terminator('\n') {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[name, device, ref rest @ ..] = fields.as_slice() else {
            lines.push(line.to_owned());
            continue;
        };
        let options = rest.get(1).copied().unwrap_or_default();
        let has = |option: &str| options.split(',').any(|known| known == option);
        if name.starts_with('#') || has("noauto") {
            lines.push(line.to_owned());
            continue;
        }
        match machine.has_device(device) {
            Presence::Present => lines.push(line.to_owned()),
            Presence::Possible => {
                let key = rest.first().copied().unwrap_or("none");
                let comma = if options.is_empty() { "" } else { "," };
                lines.push(format!("{name} {device} {key} {options}{comma}nofail"));
            }
            Presence::Absent if has("nofail") => {}
            Presence::Absent => names.push(format!("encrypted {name} on {device}")),
        }
    }
    Table::new(text, &lines, names)
}

impl Table {
    fn new(image: &str, lines: &[String], names: Vec<String>) -> Self {
        let same = image.split_terminator('\n').eq(lines.iter());
        let text = (!same).then(|| lines.iter().flat_map(|line| [line, "\n"]).collect());
        Self { text, names }
    }
}

/// Undoes the escapes of fstab(5): a backslash and three octal digits.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
