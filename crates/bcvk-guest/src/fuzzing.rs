//! Fuzzing of what an image's files say, of what bcvk's units say of the user's values, and of what an SSH
//! client says. See [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::path::Path;

use bcvk_contract::spec::{EnvRequest, STORAGE_GUEST_PATH, Share, ShareRequest};

use crate::absent::tables_of_a_vm;
use crate::archive::env::manager_env;
use crate::archive::mounts::share_mount;
use crate::early::RootKind;
use crate::facts::{assigned, image_of, parse_unit, root_in_key_file, root_in_toml};
use crate::storage;
use crate::unit_name::unit_name;

pub use crate::facts::fuzzing::facts;
pub use crate::login::fuzzing::{ssh_messages, ssh_stream};

/// Parses files of `KEY=VALUE` lines, such as SELinux' configuration, and those that have such lines in
/// groups.
pub fn assignments(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(value) = assigned(&text, "SELINUX") {
        assert!(!value.contains('\n') && text.contains(value));
    }
    if root_in_key_file(&text) != RootKind::Image {
        assert!(text.contains("[root]") && text.contains("transient"));
    }
    let _ = root_in_toml(&text);
    if let Some(image) = image_of("x.container", &text) {
        assert!(text.contains(image) && !image.contains(char::is_control));
    }
}

/// Parses the image's storage.conf, to which the host's store is added.
pub fn storage_conf(data: &[u8]) {
    let own = String::from_utf8_lossy(data);
    let made = storage::with_host_store(Some(&own));
    let config: toml::Table = made.parse().expect("TOML");
    let stores = config["storage"]["options"]["additionalimagestores"].as_array();
    let ours = stores.and_then(|stores| stores.last());
    assert_eq!(ours.and_then(|s| s.as_str()), Some(STORAGE_GUEST_PATH));
}

/// Parses fstab(5) and crypttab(5): what is left out once is not found again, and nothing is made up.
pub fn tables(data: &[u8]) {
    // A line of a table ends with a newline only, and may end with carriage returns.
    fn lines(text: &str) -> Vec<&str> {
        text.split_terminator('\n').collect()
    }
    let text = String::from_utf8_lossy(data);
    let own = lines(&text);
    for (i, (left, names)) in tables_of_a_vm(&text).into_iter().enumerate() {
        let kept = lines(&left);
        assert!(kept.len() <= own.len());
        assert!(kept.iter().all(|line| own.contains(line)));
        assert!(names <= own.len());
        let (again, none) = &tables_of_a_vm(&left)[i];
        assert_eq!((again, none), (&left, &0));
    }
}

/// Parses a unit that may name devices: each is a path in `/dev`.
pub fn unit(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for file in ["x.mount", "x.swap", "x.service"] {
        let unit = parse_unit(file, file.to_owned(), &text);
        assert!(unit.devices.iter().all(|path| path.starts_with("/dev/")));
        assert!(
            unit.what
                .is_none_or(|what| !what.contains('\n') && text.contains(&what))
        );
    }
}

/// Makes the mount unit of a share: it has one line for each setting, whatever the paths are.
pub fn mount_unit(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(request) = text.parse::<ShareRequest>() else {
        return;
    };
    let Ok(target) = request.target_in(Path::new("/cwd")) else {
        return;
    };
    let share = Share {
        tag: target.tag(0),
        host: request.host.clone(),
        guest_path: target.guest_path(),
        read_only: true,
    };
    let unit = share_mount(&share);
    let template = include_str!("units/share.mount");
    assert_eq!(unit.lines().count(), template.lines().count(), "{unit}");
    for line in unit.lines() {
        assert!(!line.ends_with('\\'), "goes on in the next line: {line}");
    }
    let place = unit.lines().find_map(|line| line.strip_prefix("Where="));
    let place = place.expect("Where=").replace("%%", "%");
    // systemd drops blanks at the end.
    let place = place.trim_matches([' ', '\t']);
    assert_eq!(Some(place), share.guest_path.to_str());
    let name = unit_name(&share.guest_path);
    assert!(name.bytes().all(|b| b.is_ascii_graphic() && b != b'/'));
}

/// Writes environment variables, as `DefaultEnvironment=` has them.
pub fn environment(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(request) = text.parse::<EnvRequest>() else {
        return;
    };
    let Ok(Some(var)) = request.resolve(|_| None) else {
        return;
    };
    assert_eq!(var.to_string(), text);
    let line = manager_env(std::slice::from_ref(&var));
    assert!(!line.contains(['\n', '\r']), "{line:?}");
    // The value is read back as systemd does: escapes (of which these are used) and specifiers.
    let quoted = line.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
    let mut chars = quoted.expect("quotes").chars();
    let mut read = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' | '%' => read.extend(chars.next()),
            '"' => panic!("a quote in the middle: {line}"),
            c => read.push(c),
        }
    }
    assert_eq!(read, text);
}

#[cfg(test)]
mod seeds {
    bcvk_testkit::test_seeds!(
        bcvk_guest: assignments environment facts mount_unit ssh_messages ssh_stream storage_conf tables unit
    );
}
