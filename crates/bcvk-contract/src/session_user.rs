//! The line with which a connection to a guest begins: the user who is about to log in.
//!
//! The SSH protocol names the user only to the server that serves them, and who that is depends on the
//! user. It begins with a capital letter, so a connection without the line is told from one with it.

/// Beginning of the line.
const WORD: &str = "user ";

/// First byte of the line.
pub const FIRST_BYTE: u8 = WORD.as_bytes()[0];

/// Length of a line that counts; Linux knows no user whose name is longer than 256 bytes.
pub const MAX_LINE: u64 = 300;

/// Returns the line for the user of this name.
#[must_use]
pub fn line(name: &str) -> String {
    format!("{WORD}{name}\n")
}

/// Returns the name of the user; `None` if it is no such line, or has no end.
#[must_use]
pub fn parse(line: &str) -> Option<&str> {
    line.strip_suffix('\n')?.strip_prefix(WORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for name in ["root", "ada", ""] {
            assert_eq!(parse(&line(name)), Some(name));
        }
        for other in ["user ada", "usher ada\n", "SSH-2.0-x\n", ""] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
