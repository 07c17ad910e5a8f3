//! Requests that no client sends.

use super::*;

/// Returns the answers to requests, each with its length before it.
fn answers(requests: &[u8]) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    serve(&mut &*requests, &mut output)?;
    Ok(output)
}

fn request(kind: u8) -> Message {
    Message::new(kind).number(9)
}

#[test]
fn a_request_that_ends_too_early_is_told() {
    let attributes = |message: Message| {
        message
            .number(15)
            .long(1)
            .number(1)
            .number(1)
            .number(0o600)
            .number(1)
            .number(1)
    };
    let path = "/nonexistent/file";
    let extended = |name| request(kind::EXTENDED).bytes(name);
    for message in [
        attributes(request(kind::OPEN).bytes(path).number(27)),
        request(kind::CLOSE).bytes([0; 4]),
        request(kind::READ).bytes([0; 4]).long(0).number(1),
        request(kind::WRITE).bytes([0; 4]).long(0).bytes("data"),
        request(kind::FSTAT).bytes([0; 3]),
        attributes(request(kind::FSETSTAT).bytes([0; 5])),
        attributes(request(kind::SETSTAT).bytes(path)),
        request(kind::OPENDIR).bytes(path),
        request(kind::READDIR).bytes([0; 4]),
        request(kind::REMOVE).bytes(path),
        attributes(request(kind::MKDIR).bytes(path)),
        request(kind::RMDIR).bytes(path),
        request(kind::LSTAT).bytes(path),
        request(kind::REALPATH).bytes(path),
        request(kind::RENAME).bytes(path).bytes(path),
        request(kind::READLINK).bytes(path),
        request(kind::SYMLINK).bytes(path).bytes(path),
        extended("posix-rename@openssh.com").bytes(path).bytes(path),
        extended("hardlink@openssh.com").bytes(path).bytes(path),
        extended("fsync@openssh.com").bytes([0; 4]),
        attributes(extended("lsetstat@openssh.com").bytes(path)),
        extended("expand-path@openssh.com").bytes("~nobody-here/x"),
        extended("unknown@example.com"),
        request(99).bytes(path),
    ] {
        let message = message.into_bytes();
        for length in 5..=message.len() {
            let framed = Message::default().bytes(&message[..length]).into_bytes();
            let answer = answers(&framed).expect("an answer");
            // Behind the length: a status, of this request.
            assert_eq!(answer[4..9], [kind::STATUS, 0, 0, 0, 9], "{message:?}");
        }
    }
}

#[test]
fn a_client_that_breaks_off_is_no_panic() {
    for bytes in [
        &[][..],
        &[0, 0],
        &[0, 0, 0, 0],
        &[0, 0, 0, 1, 3],
        &[255; 9],
        &[0, 0, 0, 9, 3],
    ] {
        // Some are the end, and some are errors.
        let _ = answers(bytes);
    }
    assert!(answers(&[255; 9]).is_err());
    assert!(answers(&[]).expect("the end").is_empty());
}
