//! Tests that a trace holds for an image if, and only if, a boot finds the same there.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bcvk_contract::spec::Sha256Digest;
use rustix::fs::{XattrFlags, lsetxattr};

use super::*;

const GIVEN: Sha256Digest = Sha256Digest([1; 32]);

/// Time of change of all files, so that two trees that are made one after the other are the same.
fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

fn set_time(path: &Path, time: SystemTime) {
    let file = File::open(path).expect("opened");
    file.set_modified(time).expect("set");
}

/// Makes an image.
fn image() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    for path in ["usr/bin", "usr/lib/units", "usr/share", "etc", "boot"] {
        fs::create_dir_all(root.join(path)).expect("made");
    }
    for (path, text) in [
        ("usr/bin/read", "program"),
        ("usr/bin/seen", "program"),
        ("usr/bin/ignored", "program"),
        ("usr/lib/units/a.service", "unit"),
        ("etc/hostname", ""),
        ("boot/vmlinuz", "kernel"),
    ] {
        fs::write(root.join(path), text).expect("written");
        set_time(&root.join(path), then());
    }
    lsetxattr(
        root.join("usr/bin/read"),
        "user.mark",
        b"1",
        XattrFlags::empty(),
    )
    .expect("set");
    symlink("read", root.join("usr/bin/link")).expect("linked");
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec::default(),
        last_modification: rustix::fs::Timespec::default(),
    };
    rustix::fs::utimensat(
        rustix::fs::CWD,
        root.join("usr/bin/link"),
        &times,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .expect("set");
    fs::hard_link(root.join("usr/bin/seen"), root.join("usr/bin/twin")).expect("linked");
    set_time(&root.join("usr"), then());
    dir
}

/// Questions of a boot about that image.
fn asked() -> Asked {
    let mut asked = Asked::new(1);
    asked.given(&[PathBuf::from("boot/vmlinuz")]);
    for (dir, name, found) in [
        (1, "usr", Some(2)),
        (2, "bin", Some(3)),
        (3, "read", Some(4)),
        (3, "seen", Some(5)),
        (3, "link", Some(6)),
        (3, "absent", None),
        (3, "twin", Some(5)),
        (2, "lib", Some(7)),
        (7, "units", Some(8)),
        (8, "a.service", Some(9)),
        (1, "etc", Some(10)),
        (10, "hostname", Some(11)),
        // The guest has forgotten it meanwhile.
        (1, "usr", Some(12)),
        (12, "share", Some(13)),
    ] {
        asked.looked_up(dir, name.as_bytes(), found);
    }
    for file in [4, 6, 8, 9, 11] {
        asked.read(file);
    }
    asked.asked_for_xattr(4, b"user.mark");
    asked.asked_for_xattr(5, b"user.mark");
    asked.listed_xattrs(5);
    asked
}

/// Result of the comparison of a boot of one image with another, in which `edit` has changed
/// something.
fn after(edit: impl FnOnce(&Path)) -> String {
    let (before, after) = (image(), image());
    edit(after.path());
    let trace = asked().answered(before.path(), GIVEN).expect("a trace");
    let json = trace.to_json().expect("JSON");
    let trace = Trace::parse(&json).expect("a trace");
    assert_eq!(trace.given, GIVEN);
    match trace.check(after.path()).expect("compared") {
        Checked::Differs(what) => what,
        // All directories have other times here.
        Checked::Same { aged } => {
            let files = aged.iter().filter(|path| !after.path().join(path).is_dir());
            let files: Vec<_> = files.map(|path| shown(path)).collect();
            format!("same {}", files.join(" ")).trim_end().to_owned()
        }
    }
}

/// Edit of an image.
type Edit = fn(&Path);

#[track_caller]
fn expect_after<const N: usize>(cases: [(Edit, &str); N]) {
    for (number, (edit, expected)) in cases.into_iter().enumerate() {
        assert_eq!(after(edit), expected, "case {number}");
    }
}

#[test]
fn what_no_boot_looks_at_does_not_count() {
    expect_after([
        (|_| (), "same"),
        // Nobody has looked at these.
        (|root| write(root, "usr/bin/ignored", "other"), "same"),
        (
            |root| fs::remove_file(root.join("usr/bin/ignored")).expect("removed"),
            "same",
        ),
        (|root| write(root, "usr/bin/new", "new"), "same"),
        (
            |root| fs::create_dir_all(root.join("usr/share/new/dir")).expect("made"),
            "same",
        ),
        // A build leaves it so.
        (
            |root| set_time(&root.join("etc/hostname"), SystemTime::UNIX_EPOCH),
            "same /etc/hostname",
        ),
    ]);
}

#[test]
fn what_a_boot_has_looked_at_counts() {
    expect_after([
        (
            |root| {
                fs::write(root.join("usr/bin/read"), "Program").expect("written");
                set_time(&root.join("usr/bin/read"), then());
            },
            "/usr/bin/read has another content",
        ),
        (
            |root| {
                fs::write(root.join("usr/bin/seen"), "longer program").expect("written");
                set_time(&root.join("usr/bin/seen"), then());
            },
            "/usr/bin/seen has another size or number of links",
        ),
        (
            |root| set_time(&root.join("usr/bin/seen"), SystemTime::UNIX_EPOCH),
            "/usr/bin/seen has another time of change",
        ),
        (
            |root| mode(root, "usr/bin/seen", 0o600),
            "/usr/bin/seen has another type, owner or mode",
        ),
        (
            |root| mode(root, "usr/bin", 0o700),
            "/usr/bin has another type, owner or mode",
        ),
        (
            |root| {
                let twin = root.join("usr/bin/twin");
                fs::remove_file(&twin).expect("removed");
                fs::write(&twin, "program").expect("written");
                set_time(&twin, then());
            },
            "/usr/bin/seen has another size or number of links",
        ),
        (
            |root| fs::remove_file(root.join("usr/bin/read")).expect("removed"),
            "/usr/bin/read is not there any more",
        ),
        (
            |root| write(root, "usr/bin/absent", "new"),
            "/usr/bin/absent is new",
        ),
        (
            |root| write(root, "usr/lib/units/b.service", "new"),
            "/usr/lib/units has other names in it",
        ),
        (
            |root| {
                let link = root.join("usr/bin/link");
                fs::remove_file(&link).expect("removed");
                symlink("seen", &link).expect("linked");
            },
            "/usr/bin/link has another time of change",
        ),
        (
            |root| {
                let path = root.join("usr/bin/read");
                lsetxattr(path, "user.mark", b"2", XattrFlags::empty()).expect("set");
            },
            "/usr/bin/read has other extended attributes",
        ),
        (
            |root| {
                let path = root.join("usr/bin/seen");
                lsetxattr(path, "user.mark", b"1", XattrFlags::empty()).expect("set");
            },
            "/usr/bin/seen has other extended attributes",
        ),
        (
            |root| {
                let path = root.join("usr/bin/seen");
                lsetxattr(path, "user.other", b"1", XattrFlags::empty()).expect("set");
            },
            "/usr/bin/seen has other extended attributes",
        ),
        (
            |root| set_time(&root.join("usr"), SystemTime::UNIX_EPOCH),
            "/usr has another time of change",
        ),
        (
            |root| {
                fs::write(root.join("boot/vmlinuz"), "KERNEL").expect("written");
                set_time(&root.join("boot/vmlinuz"), then());
            },
            "/boot/vmlinuz has another content",
        ),
    ]);
}

fn write(root: &Path, path: &str, text: &str) {
    fs::write(root.join(path), text).expect("written");
    set_time(&root.join("usr"), then());
}

fn mode(root: &Path, path: &str, mode: u32) {
    fs::set_permissions(root.join(path), Permissions::from_mode(mode)).expect("set");
}

/// In a layer that both images have, no content is read.
#[test]
fn a_file_that_is_the_same_file_is_not_read_again() {
    let image = image();
    let trace = asked().answered(image.path(), GIVEN).expect("a trace");
    let mut forged = trace.clone();
    for look in &mut forged.looks {
        if let Some(found) = &mut look.found
            && !found.is_dir()
        {
            found.content = found.content.map(|_| Sha256Digest([0; 32]));
        }
    }
    assert_ne!(forged, trace);
    let same = Checked::Same { aged: Vec::new() };
    assert_eq!(forged.check(image.path()).expect("compared"), same);
    // A file that somebody has touched is.
    mode(image.path(), "usr/bin/read", 0o600);
    mode(image.path(), "usr/bin/read", 0o644);
    let differs = Checked::Differs("/usr/bin/read has another content".to_owned());
    assert_eq!(forged.check(image.path()).expect("compared"), differs);
}

/// The file system of such a layer tells no time at which the file came there.
#[test]
fn a_file_of_which_only_one_time_is_known_is_read_again() {
    let image = image();
    fs::write(image.path().join("usr/bin/read"), "program").expect("written");
    let mut trace = asked().answered(image.path(), GIVEN).expect("a trace");
    let read = trace.looks.iter_mut().find(|look| look.name == "read");
    let found = read.and_then(|look| look.found.as_mut()).expect("found");
    assert_eq!(found.attributes.changed, found.attributes.modified);
    found.content = Some(Sha256Digest([0; 32]));
    let differs = Checked::Differs("/usr/bin/read has another content".to_owned());
    assert_eq!(trace.check(image.path()).expect("compared"), differs);
}

#[test]
fn what_is_not_remembered_makes_no_trace() {
    type Ask = fn(&mut Asked);
    let cases: [(&str, Ask); 9] = [
        ("never found", |asked| asked.looked_up(99, b"name", None)),
        ("never found", |asked| asked.read(99)),
        ("no text", |asked| asked.looked_up(1, b"\xff", None)),
        ("no text", |asked| asked.looked_up(1, b"..", Some(1))),
        ("no text", |asked| asked.asked_for_xattr(1, b"\xff")),
        ("changed", |asked| asked.looked_up(1, b"usr", None)),
        ("another was known", |asked| {
            asked.looked_up(1, b"usr", Some(10));
        }),
        ("than are remembered", |asked| {
            (0..=MAX_NAMES).for_each(|number| {
                asked.looked_up(1, number.to_string().as_bytes(), None);
            });
        }),
        ("than are remembered", |asked| {
            (0..20).for_each(|number| {
                asked.asked_for_xattr(1, format!("user.{number}").as_bytes());
            });
        }),
    ];
    let image = image();
    for (expected, ask) in cases {
        let mut asked = asked();
        ask(&mut asked);
        let error = asked.answered(image.path(), GIVEN).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_trace_names_nothing_outside_of_its_image() {
    type Change = fn(&mut Trace);
    let image = image();
    let trace = asked().answered(image.path(), GIVEN).expect("a trace");
    let cases: [Change; 8] = [
        |trace| trace.looks.clear(),
        |trace| trace.looks[1].name = "..".to_owned(),
        |trace| trace.looks[1].name = "usr/../..".to_owned(),
        |trace| trace.looks[1].name = String::new(),
        |trace| trace.looks[1].dir = 1,
        |trace| trace.looks[0].found = None,
        |trace| trace.looks[0].name = "root".to_owned(),
        |trace| {
            // A link is no directory.
            let link = trace.looks.iter().position(|look| look.name == "link");
            trace.looks.last_mut().expect("a name").dir =
                u32::try_from(link.expect("there")).expect("small");
        },
    ];
    for change in cases {
        let mut changed = trace.clone();
        change(&mut changed);
        let json = changed.to_json().expect("JSON");
        assert!(Trace::parse(&json).is_err(), "{changed:?}");
    }
    for text in ["", "{}", "[]", "{\"given\":\"\",\"looks\":[]}"] {
        assert!(Trace::parse(text.as_bytes()).is_err(), "{text}");
    }
}
