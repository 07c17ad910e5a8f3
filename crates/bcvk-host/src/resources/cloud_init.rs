//! User data for cloud-init.

#![allow(clippy::disallowed_methods, reason = "opens a file of the user's")]

use std::fs::File;
use std::io;
use std::path::Path;

use bcvk_contract::bounded;

use crate::FileError;

/// Limit for the size of user data. It travels in the guest's initramfs; clouds take 16 to 64 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// Beginnings of user data that is not a comment, in lower case: MIME headers.
const HEADERS: [&str; 3] = ["content-type:", "mime-version:", "from "];

/// Reads and checks user data: cloud-init decides by its beginning what it is, and silently leaves out
/// what it does not know (cloud-init's documentation, "User-data formats").
///
/// # Errors
/// [`FileError::UserData`] if the file cannot be read or is something else.
pub fn read_user_data(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::UserData {
        path: path.to_owned(),
        source,
    };
    let other = |what: &str| failed(io::Error::other(what.to_owned()));
    let file = File::open(path).map_err(failed)?;
    let data = bounded::read(file, MAX_BYTES)
        .map_err(failed)?
        .ok_or_else(|| other("it is larger than 1 MiB"))?;
    let text = str::from_utf8(&data).map_err(|_| other("it is not text"))?;
    let start = text.trim_start().lines().next().unwrap_or_default();
    let start = start.to_ascii_lowercase();
    if !start.starts_with('#') && !HEADERS.iter().any(|header| start.starts_with(header)) {
        return Err(other("its first line does not say what it is"));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_cloud_init_knows_is_user_data() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("user-data");
        let read = |text: &[u8]| {
            fs::write(&file, text).expect("write");
            read_user_data(&file)
        };
        for text in [
            "#cloud-config\nusers: []\n",
            "#!/bin/sh\ntrue\n",
            "## template: jinja\n#cloud-config\n",
            "\nContent-Type: multipart/mixed; boundary=\"x\"\n",
        ] {
            assert_eq!(read(text.as_bytes()).expect(text), text.as_bytes());
        }
        let large = [b"#".repeat(1 << 20).as_slice(), b"#"].concat();
        for text in [b"".as_slice(), b"users: []\n", b"#\xff", &large] {
            assert!(matches!(read(text), Err(FileError::UserData { .. })));
        }
    }
}
