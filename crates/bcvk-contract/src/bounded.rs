//! Reading what may have no end.

use std::io::{self, Read};

/// Reads all that there is; `None` if that is more than `most` bytes.
///
/// By what comes, not by a size that was said: a device has none, and what is compressed lies.
///
/// # Errors
/// The reader's own.
pub fn read(reader: impl Read, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    reader
        .take(most.saturating_add(1))
        .read_to_end(&mut content)?;
    Ok((content.len() as u64 <= most).then_some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_nothing() {
        for (most, whole) in [(0, false), (2, false), (3, true), (u64::MAX, true)] {
            let content = read(&b"123"[..], most).expect("bytes");
            assert_eq!(content.as_deref(), whole.then_some(&b"123"[..]), "{most}");
        }
        assert_eq!(read(io::repeat(0), 9).expect("zeros"), None);
    }
}
