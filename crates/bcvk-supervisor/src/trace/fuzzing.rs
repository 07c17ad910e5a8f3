//! Fuzzing of traces. See [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::path::Component;

use super::Trace;

/// Parses a trace and compares it with an empty image.
pub fn trace(data: &[u8]) {
    let Ok(trace) = Trace::parse(data) else {
        return;
    };
    for number in 0..trace.looks.len() {
        let path = trace.path(number);
        let within = |part| matches!(part, Component::Normal(_));
        assert!(path.components().all(within), "{}", path.display());
    }
    let again = trace.to_json().expect("JSON");
    assert_eq!(Trace::parse(&again).expect("a trace"), trace);
    // A directory that has nothing, if anybody made it.
    let empty = std::env::temp_dir().join("bcvk-empty-image");
    let _ = trace.check(&empty);
}
