//! Fuzzing of the facts about an image. See [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::path::Component;

use super::{GuestFacts, VarLayout, tree};
use crate::rooted::Rooted;

/// Limit for the size of a tree: each file costs a few calls of the kernel.
const MAX_FILES: usize = 40;

/// Reads the facts of an image with one file for each line ([`tree::add`]).
pub fn facts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let dir = tempfile::tempdir().expect("a directory");
    for line in text.lines().take(MAX_FILES) {
        // A line that names no file is left out.
        let _ = tree::add(dir.path(), line);
    }
    let root = Rooted::new(dir.path()).expect("the root");
    // Links that go in circles are errors.
    let Ok(facts) = GuestFacts::read(&root) else {
        return;
    };
    let VarLayout {
        directories,
        copied,
        overlaid,
        ..
    } = &facts.var;
    let parts = directories.iter().chain(copied).chain(overlaid);
    let mut parts = parts.flat_map(|path| path.components());
    assert!(parts.all(|part| matches!(part, Component::Normal(_))));
    if let Some(home) = &facts.root_home {
        let mut parts = home.components();
        assert_eq!(parts.next(), Some(Component::RootDir), "{}", home.display());
        assert!(
            parts.all(|part| matches!(part, Component::Normal(_))),
            "{}",
            home.display()
        );
    }
    if let Some(unit) = facts.sshd.unit() {
        assert!(!unit.is_empty() && !unit.contains('/'), "{unit:?}");
    }
    let json = serde_json::to_vec(&facts).expect("JSON");
    let again: GuestFacts = serde_json::from_slice(&json).expect("facts");
    assert_eq!(again, facts);
}
