//! Data types of the SSH protocol (RFC 4251, section 5).

use std::io;

/// Fields of a received message, read one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    pub(super) fn raw(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (field, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| violation("a message is too short"))?;
        self.0 = rest;
        Ok(field)
    }

    pub(super) fn byte(&mut self) -> io::Result<u8> {
        Ok(self.raw(1)?[0])
    }

    pub(super) fn flag(&mut self) -> io::Result<bool> {
        Ok(self.byte()? != 0)
    }

    pub(super) fn number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.raw(4)?);
        Ok(u32::from_be_bytes(bytes))
    }

    pub(super) fn long(&mut self) -> io::Result<u64> {
        Ok(u64::from(self.number()?) << 32 | u64::from(self.number()?))
    }

    pub(super) fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let length = self.number()?;
        self.raw(length as usize)
    }

    pub(super) fn text(&mut self) -> io::Result<&'a str> {
        str::from_utf8(self.bytes()?).map_err(|_| violation("a name is not UTF-8"))
    }
}

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn new(kind: u8) -> Self {
        Self(vec![kind])
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn byte(self, byte: u8) -> Self {
        self.raw(&[byte])
    }

    pub(super) fn flag(self, flag: bool) -> Self {
        self.byte(flag.into())
    }

    pub(super) fn number(self, number: u32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    pub(super) fn long(self, number: u64) -> Self {
        self.raw(&number.to_be_bytes())
    }

    /// Appends a string, whose length fits the field: no message is larger than a packet.
    pub(super) fn bytes(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX))
            .raw(bytes)
    }

    /// Appends a positive number of many bytes, whose first is the most significant.
    pub(super) fn mpint(self, bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let digits = &bytes[zeros..];
        if digits.first().is_some_and(|first| first & 0x80 != 0) {
            self.bytes([&[0], digits].concat())
        } else {
            self.bytes(digits)
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Returns the error of a peer that does not keep to the protocol.
pub(super) fn violation(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_many_bytes_are_those_of_the_rfc() {
        for (bytes, encoded) in [
            (&[0, 0][..], &[0, 0, 0, 0][..]),
            (&[0, 0x7f], &[0, 0, 0, 1, 0x7f]),
            (&[0x80], &[0, 0, 0, 2, 0, 0x80]),
        ] {
            assert_eq!(Message::default().mpint(bytes).into_bytes(), encoded);
        }
    }

    #[test]
    fn no_field_reaches_beyond_its_message() {
        for message in [&[][..], &[0, 0, 0], &[0, 0, 0, 1], &[255, 255, 255, 255, 0]] {
            assert!(Fields::new(message).bytes().is_err(), "{message:?}");
        }
        let message = Message::new(7).flag(true).long(1 << 40).bytes("text");
        let message = message.into_bytes();
        let mut fields = Fields::new(&message);
        assert_eq!(fields.byte().expect("a byte"), 7);
        assert!(fields.flag().expect("a flag"));
        assert_eq!(fields.long().expect("a number"), 1 << 40);
        assert_eq!(fields.text().expect("text"), "text");
        assert!(fields.byte().is_err());
    }
}
