//! Parsers of values of the user's and of what crosses, for `fuzz/`: each panics where a result cannot be
//! right.

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::path::Path;

use crate::spec::{
    DiskRequest, Karg, LogDir, MemorySize, PortForward, SerialPort, ShareRequest, SwapSize,
    Timeout, VmName, VmSpec,
};
use crate::status::{self, PrintableStream, Status};

pub use crate::checkpoint::fuzzing::checkpoint;
pub use crate::snapshot::fuzzing::snapshot_meta;

/// `--bind`.
pub fn share(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(request) = text.parse::<ShareRequest>() else {
        return;
    };
    let host = request.host.to_str().expect("text");
    assert!(!host.is_empty() && text.starts_with(host));
    let Ok(target) = request.target_in(Path::new("/cwd")) else {
        return;
    };
    let place = target.guest_path();
    assert!(place.is_absolute() && place != Path::new("/"));
    assert!(!place.components().any(|part| part.as_os_str() == ".."));
    let tag = target.tag(7);
    assert!(tag.len() <= 36 && tag.bytes().all(|b| b.is_ascii_graphic() && b != b','));
}

/// `--mount-disk-file`.
pub fn disk(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(request) = text.parse::<DiskRequest>() else {
        return;
    };
    assert!(!request.name.is_empty() && request.name.len() <= 20);
    let file = request.file.to_str().expect("text");
    assert!(text.starts_with(file));
    // With everything said, the same again.
    let whole = format!("{file}:{}:{}", request.name, request.format());
    let again: DiskRequest = whole.parse().expect("a disk");
    assert_eq!((again.file, again.name), (request.file, request.name));
}

/// `--publish`.
pub fn publish(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(forward) = text.parse::<PortForward>() else {
        return;
    };
    assert_ne!(forward.guest_port, 0);
    let json = serde_json::to_string(&forward).expect("JSON");
    let again: PortForward = serde_json::from_str(&json).expect("a port");
    assert_eq!(again, forward);
}

/// `--memory` and `--add-swap`.
pub fn size(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(size) = text.parse::<MemorySize>() {
        assert!(size >= MemorySize::MIN);
        assert_eq!(size.to_string().parse(), Ok(size));
        assert!(text.parse::<SwapSize>().is_ok());
    }
}

/// `--timeout`.
pub fn timeout(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(timeout) = text.parse::<Timeout>() {
        assert_eq!(timeout.to_string().parse(), Ok(timeout));
    }
}

/// `--karg`, and whole command lines.
pub fn karg(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(kargs) = Karg::split(&text) {
        let line: Vec<&str> = kargs.iter().map(Karg::as_str).collect();
        assert_eq!(Karg::split(&line.join(" ")), Ok(kargs.clone()));
    }
    if let Ok(karg) = text.parse::<Karg>() {
        assert_eq!(karg.as_str().parse(), Ok(karg.clone()));
        assert!(karg.as_str().contains(karg.name()));
    }
}

/// `--name`, `--log-dir` and `--virtio-serial-out`.
pub fn stream(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(name) = text.parse::<VmName>() {
        assert!(!text.starts_with('-') && name.as_str() == text);
    }
    if let Ok(logs) = text.parse::<LogDir>() {
        let dir = logs.dir.to_str().expect("text");
        assert!(!logs.streams.is_empty() && text.ends_with(dir));
    }
    if let Ok(port) = text.parse::<SerialPort>() {
        let file = port.host.to_str().expect("text");
        assert_eq!(format!("{}:{file}", port.name), text);
        assert!(!port.name.contains([',', '/', '=']));
    }
}

/// `status.json`.
pub fn status(data: &[u8]) {
    let Ok(status) = serde_json::from_slice::<Status>(data) else {
        return;
    };
    let json = serde_json::to_vec(&status).expect("JSON");
    assert_eq!(serde_json::from_slice::<Status>(&json).ok(), Some(status));
}

/// `spec.json`.
pub fn spec(data: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<VmSpec>(data) else {
        return;
    };
    let json = serde_json::to_vec(&spec).expect("JSON");
    assert_eq!(
        serde_json::from_slice::<VmSpec>(&json).ok().as_ref(),
        Some(&spec)
    );
    let _ = spec.validate();
    let shown = spec.public().expect("JSON");
    assert!(shown.get("host_key").is_none());
}

/// Text on its way to a terminal, as lines and as a stream in two pieces.
pub fn printable(data: &[u8]) {
    let line = status::printable(&String::from_utf8_lossy(data));
    assert!(!line.contains(status::steers), "{line:?}");
    let whole = PrintableStream::default().feed(data);
    let mut stream = PrintableStream::default();
    let (a, b) = data.split_at(data.len() / 2);
    let pieces = stream.feed(a) + &stream.feed(b);
    assert_eq!(pieces, whole);
    let obeyed = |c: char| status::steers(c) && c != '\n';
    assert!(!whole.contains(obeyed), "{whole:?}");
}

#[cfg(test)]
mod seeds {
    bcvk_testkit::test_seeds!(
        bcvk_contract: checkpoint disk karg printable publish share size snapshot_meta spec status stream timeout
    );
}
