//! Fuzzing of the description of a snapshot. See [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use super::{VERSION, Written};

/// Parses `meta.json`.
pub fn snapshot_meta(data: &[u8]) {
    let Ok(written) = Written::parse(data) else {
        return;
    };
    assert_eq!(written.version, VERSION);
    let json = serde_json::to_vec(&written).expect("JSON");
    assert_eq!(Written::parse(&json).ok(), Some(written));
}
