//! Parsers of podman's output and of what podman is told, for `fuzz/`: each panics if a result cannot
//! be right.

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::follow::activity::ConsoleProgress;
use crate::image::inspect::ImageInfo;
use crate::image::list::bootable;
use crate::podman::{Container, bind};
use crate::shell::quote;

pub use crate::health::fuzzing::health;
pub use crate::timeline::fuzzing::timeline;

/// Parses output of `podman ps`, `podman images` and `podman image inspect`.
pub fn podman_json(data: &[u8]) {
    if let Ok(containers) = serde_json::from_slice::<Vec<Container>>(data) {
        for container in containers {
            let _ = (container.name(), container.vm_id(), container.is_running());
        }
    }
    if let Ok(images) = bootable(data) {
        let ids: std::collections::BTreeSet<&str> = images.iter().map(|i| i.id.as_str()).collect();
        assert_eq!(ids.len(), images.len(), "an image comes twice");
    }
    let _ = ImageInfo::parse(data, "localhost/image");
}

/// Reads the progress of a boot from a guest's console. In pieces, the same console must give the
/// same result.
pub fn activity(data: &[u8]) {
    let mut whole = ConsoleProgress::default();
    whole.feed(data);
    let mut pieces = ConsoleProgress::default();
    data.chunks(7).for_each(|piece| pieces.feed(piece));
    assert_eq!(whole.awaited(), pieces.awaited());
    let shown = whole.awaited().unwrap_or_default();
    assert!(!shown.contains(bcvk_contract::status::steers), "{shown:?}");
}

/// Writes a path as a field of podman's `--mount`, which is CSV.
pub fn podman_mount(data: &[u8]) {
    let path = Path::new(OsStr::from_bytes(data));
    let arg = bind(path, Path::new("/x"), true);
    let expected = [
        b"type=bind".to_vec(),
        [b"source=", data].concat(),
        b"destination=/x".to_vec(),
        b"readonly=true".to_vec(),
    ];
    assert_eq!(csv_record(arg.as_bytes()), expected);
}

/// Splits one record into its fields, by RFC 4180.
fn csv_record(mut text: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    loop {
        let mut field = Vec::new();
        let quoted = text.first() == Some(&b'"');
        text = &text[usize::from(quoted)..];
        let mut open = quoted;
        let mut ended = true;
        while let Some((&byte, rest)) = text.split_first() {
            text = rest;
            match byte {
                b'"' if open && rest.first() == Some(&b'"') => {
                    field.push(b'"');
                    text = &rest[1..];
                }
                b'"' if open => open = false,
                b',' if !open => {
                    ended = false;
                    break;
                }
                byte => {
                    assert!(open || !quoted, "something follows the closing quote");
                    assert!(
                        open || !matches!(byte, b'"' | b'\n' | b'\r'),
                        "not quoted: {byte:#x}"
                    );
                    field.push(byte);
                }
            }
        }
        assert!(!open, "a quote is not closed");
        fields.push(field);
        if ended {
            return fields;
        }
    }
}

/// Quotes a word of a shell's command line.
pub fn shell(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if !text.contains('\0') {
        assert_eq!(shlex::split(&quote(&text)), Some(vec![text.into_owned()]));
    }
}

#[cfg(test)]
mod seeds {
    bcvk_testkit::test_seeds!(bcvk_host: activity health podman_json podman_mount shell timeline);
}
