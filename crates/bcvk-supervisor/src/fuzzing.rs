//! Parsers of what images, guests and QEMU wrote, for `fuzz/`. See [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::io::{BufReader, Write};

use bcvk_contract::spec::{Arch, Karg};

use crate::boot::{bootconfig, bzimage, cpio, initramfs, kargs, modules, uki, zboot};
use crate::console::Scanner;
use crate::control::{MAX_LINE_BYTES, read_line};
use crate::journal::JournalText;
use crate::qemu::args::comma;
use crate::qemu::monitor::has_established;
use crate::qemu::monitor::states::loaded;
use crate::tail::Tail;
use crate::virtiofs::store;
use bcvk_contract::control::Message;

pub use crate::qemu::monitor::fuzzing::qmp;
pub use crate::trace::fuzzing::trace;
pub use crate::warm::agent::fuzzing::agent;

/// Limit for the length of an error about an image, in bytes: the error is shown to the user.
const MAX_ERROR_BYTES: usize = 4096;

/// Parses a unified kernel image.
pub fn uki(data: &[u8]) {
    match uki::Uki::parse(data) {
        Ok(uki) => {
            let within = data.as_ptr_range();
            for part in [uki.linux, uki.initrd] {
                let part = part.as_ptr_range();
                assert!(within.start <= part.start && part.end <= within.end);
            }
            for text in [uki.cmdline, uki.uname].into_iter().flatten() {
                assert!(!text.is_empty() && !text.contains(char::is_control));
            }
        }
        Err(error) => assert!(error.to_string().len() <= MAX_ERROR_BYTES),
    }
}

/// Unpacks an EFI zboot image.
pub fn zboot(data: &[u8]) {
    if zboot::is_zboot(data)
        && let Err(error) = zboot::unpack(data)
    {
        assert!(error.to_string().len() <= MAX_ERROR_BYTES);
    }
}

/// Unpacks a bzImage.
pub fn bzimage(data: &[u8]) {
    let _ = bzimage::unpack(data);
}

/// Unpacks the archives of an initramfs.
pub fn initramfs(data: &[u8]) {
    const MOST: usize = 64 << 20;
    let unpacked = initramfs::unpack(data, MOST as u64);
    assert!(unpacked.len() <= MOST.max(data.len()) + data.len());
}

/// Unpacks a kernel module, compressed or not.
pub fn module(data: &[u8]) {
    let _ = modules::decompressed(data, 64 << 20);
}

/// Reads `modules.dep` and, after a NUL, `modules.builtin`.
pub fn modules_dep(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (dependencies, builtin) = text.split_once('\0').unwrap_or((&text, ""));
    if let Ok(order) = modules::load_order(dependencies, builtin, "6.1", true) {
        let once: std::collections::BTreeSet<_> = order.iter().collect();
        assert_eq!(once.len(), order.len(), "a module is loaded twice");
    }
}

/// Parses a file of `kargs.d`.
pub fn kargs_d(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(kargs) = kargs::parse("a.toml", &text, Arch::X86_64) {
        let line: Vec<&str> = kargs.iter().map(Karg::as_str).collect();
        assert_eq!(Karg::split(&line.join(" ")), Ok(kargs.clone()));
    }
}

/// Looks for a boot configuration at the end of an initramfs.
pub fn bootconfig(data: &[u8]) {
    let end = &data[data.len().saturating_sub(bootconfig::END)..];
    let total = data.len() as u64;
    let length = bootconfig::length(end, total);
    assert!(length <= total);
}

/// Writes an archive with a file of any path and content, and reads it back.
pub fn cpio(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, content) = text.split_once('\n').unwrap_or((&text, ""));
    let mut archive = cpio::Archive::new();
    if archive.file(path, 0o644, content.as_bytes()).is_err() {
        return;
    }
    let bytes = archive.finish().expect("an archive");
    let mut rest = bytes.as_slice();
    let mut last = None;
    loop {
        let entry = ::cpio::newc::Reader::new(rest).expect("an entry");
        if entry.entry().is_trailer() {
            break;
        }
        let name = entry.entry().name().to_owned();
        assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")));
        let mut found = Vec::new();
        rest = entry.to_writer(&mut found).expect("content");
        last = Some((name, found));
    }
    let (name, found) = last.expect("a file");
    assert!(name.rsplit('/').next() == path.rsplit('/').find(|part| !matches!(*part, "" | ".")));
    assert_eq!(found, content.as_bytes());
}

/// Reads lines on the control port.
pub fn control(data: &[u8]) {
    let mut port = BufReader::with_capacity(7, data);
    while let Ok(Some(line)) = read_line(&mut port) {
        // Each byte may have become the three bytes of U+FFFD.
        assert!(line.len() <= 3 * MAX_LINE_BYTES);
        if let Some(Message::Failed(text)) = Message::parse(line.trim_end()) {
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
}

/// Reads the guest's journal, in two pieces.
pub fn journal(data: &[u8]) {
    let mut out = Vec::new();
    let mut journal = JournalText::new(&mut out);
    let (a, b) = data.split_at(data.len() / 2);
    journal.write_all(a).expect("in memory");
    journal.write_all(b).expect("in memory");
    let text = String::from_utf8(out).expect("text");
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    let steers = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(steers), "{text:?}");
}

/// Reads the guest's console, in two pieces.
pub fn console(data: &[u8]) {
    let tail = Tail::default();
    let mut scanner = Scanner::default();
    let (a, b) = data.split_at(data.len() / 2);
    for piece in [a, b] {
        let _ = scanner.feed(piece, &tail);
    }
    for line in tail.lines() {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

/// Parses QEMU's table of connections.
pub fn usernet(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = has_established(&text, 22);
    for range in text.lines().filter_map(loaded) {
        assert!(range.start <= range.end);
    }
}

/// Writes a value in QEMU's option syntax, where a comma ends the value unless the comma is doubled
/// (QEMU, util/qemu-option.c, `get_opt_value`).
pub fn qemu_option(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let option = format!("{},next=x", comma(&text));
    let mut read = String::new();
    let mut rest = option.as_str();
    while let Some((before, after)) = rest.split_once(',') {
        read.push_str(before);
        let Some(doubled) = after.strip_prefix(',') else {
            assert_eq!((read.as_str(), after), (&*text, "next=x"));
            return;
        };
        read.push(',');
        rest = doubled;
    }
    panic!("the value has no end: {option}");
}

/// Parses `images.json` and `layers.json` of podman's storage, with a NUL between them.
pub fn image_layers(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let images = parts.next().unwrap_or_default();
    let layers = parts.next().unwrap_or_default();
    let wanted = ["localhost/a".to_owned()];
    assert!(store::names::missing_in(&[images.to_vec()], &wanted).len() <= 1);
    if let Ok(found) = store::layers::image_layers(images, layers) {
        for id in found {
            assert!(
                id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()),
                "{id:?}"
            );
        }
    }
}

#[cfg(test)]
mod seeds {
    bcvk_testkit::test_seeds!(
        bcvk_supervisor: agent bootconfig bzimage console control cpio image_layers initramfs journal kargs_d
        module modules_dep qemu_option qmp trace uki usernet zboot
    );
}
