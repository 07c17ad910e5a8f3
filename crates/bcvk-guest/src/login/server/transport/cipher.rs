//! `chacha20-poly1305@openssh.com` (OpenSSH, PROTOCOL.chacha20poly1305).

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;

/// Length of the tag behind each packet.
pub(super) const TAG: usize = 16;
/// Length of the key material of one direction.
pub(super) const KEY_MATERIAL: usize = 64;
/// Length of the field before a packet, which has a key of its own.
const LENGTH: usize = 4;
/// Start of the key stream's second block. The first makes the key of the tag.
const SECOND_BLOCK: u32 = 64;

/// Keys of one direction.
pub(super) struct Keys {
    packet: [u8; 32],
    length: [u8; 32],
}

impl Keys {
    pub(super) fn new(material: &[u8; KEY_MATERIAL]) -> Self {
        let mut keys = Self {
            packet: [0; 32],
            length: [0; 32],
        };
        keys.packet.copy_from_slice(&material[..32]);
        keys.length.copy_from_slice(&material[32..]);
        keys
    }

    /// Decrypts the length of a packet.
    pub(super) fn length(&self, sequence: u32, mut field: [u8; LENGTH]) -> u32 {
        stream(&self.length, sequence).apply_keystream(&mut field);
        u32::from_be_bytes(field)
    }

    /// Encrypts a packet that begins with its length, and returns its tag.
    pub(super) fn seal(&self, sequence: u32, packet: &mut [u8]) -> [u8; TAG] {
        let (length, rest) = packet.split_at_mut(LENGTH);
        stream(&self.length, sequence).apply_keystream(length);
        let (mut cipher, authenticator) = self.ciphers(sequence);
        cipher.apply_keystream(rest);
        authenticator.compute_unpadded(packet).into()
    }

    /// Decrypts a packet but for its length. Returns false if the tag is not the packet's.
    pub(super) fn open(&self, sequence: u32, packet: &mut [u8], tag: &[u8]) -> bool {
        let (mut cipher, authenticator) = self.ciphers(sequence);
        let expected: [u8; TAG] = authenticator.compute_unpadded(packet).into();
        // The sum has no early exit whose time would tell how many bytes of a forged tag are right.
        let difference = expected
            .iter()
            .zip(tag)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        if tag.len() != TAG || difference != 0 {
            return false;
        }
        cipher.apply_keystream(&mut packet[LENGTH..]);
        true
    }

    fn ciphers(&self, sequence: u32) -> (ChaCha20, Poly1305) {
        let mut cipher = stream(&self.packet, sequence);
        let mut key = [0; 32];
        cipher.apply_keystream(&mut key);
        cipher.seek(SECOND_BLOCK);
        (cipher, Poly1305::new(&key.into()))
    }
}

/// Returns the key stream of a packet. OpenSSH's cipher has a counter of 64 bits and a nonce of 64,
/// RFC 8439's 32 and 96: below 2^32 blocks they are the same if the nonce begins with zeros.
fn stream(key: &[u8; 32], sequence: u32) -> ChaCha20 {
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&sequence.to_be_bytes());
    ChaCha20::new(&(*key).into(), &nonce.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_was_changed_is_refused() {
        let keys = Keys::new(&[7; KEY_MATERIAL]);
        let clear = *b"\0\0\0\x08content.";
        let mut sealed = clear;
        let tag = keys.seal(3, &mut sealed);
        assert_ne!(sealed, clear);
        let mut field = [0; LENGTH];
        field.copy_from_slice(&sealed[..LENGTH]);
        assert_eq!(keys.length(3, field), 8);
        for (sequence, changed) in [(3, 0), (3, 9), (4, usize::MAX)] {
            let mut packet = sealed;
            if let Some(byte) = packet.get_mut(changed) {
                *byte ^= 1;
            }
            assert!(!keys.open(sequence, &mut packet, &tag), "{changed}");
        }
        assert!(!keys.open(3, &mut sealed.clone(), &tag[..15]));
        assert!(keys.open(3, &mut sealed, &tag));
        assert_eq!(sealed[LENGTH..], clear[LENGTH..]);
    }
}
