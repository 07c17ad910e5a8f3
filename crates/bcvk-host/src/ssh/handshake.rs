//! The part of an SSH connection in which both sides agree on keys.

/// Type of the message with which a side says that it uses the new keys from now on (RFC 4253, 7.3).
const NEWKEYS: u8 = 21;

/// Bytes of a packet up to its message's type: four of the length of what follows, one of the length of
/// the padding, and the type (RFC 4253, 6).
const HEAD: usize = 6;

/// The words of one side up to its first message with keys, which anybody can read.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    part: Part,
}

#[derive(Debug, Default)]
enum Part {
    /// The line with the version of the protocol.
    #[default]
    Version,
    /// The beginning of a packet, of which so many bytes are known.
    Head([u8; HEAD], usize),
    /// The rest of a packet: so many bytes, and true if it is the last one.
    Rest(usize, bool),
    /// Everything has been said.
    Over,
}

impl Handshake {
    /// Hears the next bytes, and returns the number of those that belong to it.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> usize {
        for (at, &byte) in bytes.iter().enumerate() {
            match &mut self.part {
                Part::Version if byte == b'\n' => self.part = Part::Head([0; HEAD], 0),
                Part::Version => {}
                Part::Head(head, known) => {
                    head[*known] = byte;
                    *known += 1;
                    if *known == HEAD {
                        let [a, b, c, d, _, kind] = *head;
                        // A length that is none leaves nothing to hold back.
                        let length = u32::from_be_bytes([a, b, c, d]) as usize;
                        self.part = Part::Rest(length.saturating_sub(2), kind == NEWKEYS);
                    }
                }
                Part::Rest(left, _) => *left = left.saturating_sub(1),
                Part::Over => return at,
            }
            match self.part {
                Part::Rest(0, true) => self.part = Part::Over,
                Part::Rest(0, false) => self.part = Part::Head([0; HEAD], 0),
                _ => {}
            }
        }
        bytes.len()
    }

    /// Returns true once everything has been said.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.part, Part::Over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, payload: usize) -> Vec<u8> {
        let padding = 7;
        let length = u32::try_from(1 + 1 + payload + padding).expect("short");
        let mut packet = length.to_be_bytes().to_vec();
        packet.extend([7, kind]);
        packet.resize(4 + length as usize, kind);
        packet
    }

    #[test]
    fn it_ends_with_the_message_that_keys_are_used_from_now_on() {
        let said = [
            b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
            packet(20, 1500),
            packet(30, 32),
            packet(NEWKEYS, 0),
        ]
        .concat();
        let stream = [&said[..], &[NEWKEYS; 40]].concat();
        for step in [1, 2, 7, 100, 4000] {
            let mut handshake = Handshake::default();
            let heard: usize = stream.chunks(step).map(|part| handshake.hear(part)).sum();
            assert!(handshake.is_over());
            assert_eq!(heard, said.len(), "{step} bytes at a time");
        }
        let mut handshake = Handshake::default();
        assert_eq!(handshake.hear(&said[..said.len() - 1]), said.len() - 1);
        assert!(!handshake.is_over());
    }

    #[test]
    fn packets_that_are_none_are_heard_to_the_end() {
        for length in [[0; 4], [255; 4]] {
            let stream = [b"\n".to_vec(), length.to_vec(), vec![0; 50]].concat();
            assert_eq!(Handshake::default().hear(&stream), stream.len());
        }
    }
}
