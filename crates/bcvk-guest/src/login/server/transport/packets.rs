//! The packets of each direction.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::cipher::{Keys, TAG};
use crate::login::server::wire::violation;

/// Largest packet that is accepted: `PACKET_MAX_SIZE` of OpenSSH, packet.h.
const MAX_PACKET: usize = 256 << 10;
/// Longest identification (RFC 4253, section 4.2).
const MAX_VERSION: usize = 255;
/// Space for one read.
const READ: usize = 64 << 10;
/// Amount of unsent data above which nothing further is made.
const FULL: usize = 256 << 10;
/// Packets are padded to a multiple of this, by at least `MIN_PADDING` bytes (RFC 4253, section 6).
const BLOCK: usize = 8;
const MIN_PADDING: usize = 4;

/// Packets from the client.
pub(in super::super) struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Start of what has not been taken from the buffer.
    start: usize,
    sequence: u32,
    keys: Option<Keys>,
}

impl<R: AsyncRead + Unpin> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            start: 0,
            sequence: 0,
            keys: None,
        }
    }

    pub(super) async fn version(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let unread = &self.buffer[self.start..];
            if let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line = unread[..end].strip_suffix(b"\r").unwrap_or(&unread[..end]);
                if !line.starts_with(b"SSH-2.0-") {
                    return Err(violation("the client does not speak SSH 2.0"));
                }
                let line = line.to_vec();
                self.start += end + 1;
                return Ok(line);
            }
            if unread.len() > MAX_VERSION || !self.fill().await? {
                return Err(violation("the client does not identify itself"));
            }
        }
    }

    /// Returns the next packet's content; `None` at the end of the stream. A call that is given up
    /// loses nothing.
    pub(in super::super) async fn packet(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(content) = self.take()? {
                return Ok(Some(content));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    pub(super) fn set_keys(&mut self, keys: Keys, strict: bool) {
        self.keys = Some(keys);
        if strict {
            self.sequence = 0;
        }
    }

    async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.reserve(READ);
        Ok(self.reader.read_buf(&mut self.buffer).await? > 0)
    }

    fn take(&mut self) -> io::Result<Option<Vec<u8>>> {
        let unread = &mut self.buffer[self.start..];
        let Some(&field) = unread.first_chunk::<4>() else {
            return Ok(None);
        };
        let (length, tag) = match &self.keys {
            Some(keys) => (keys.length(self.sequence, field), TAG),
            None => (u32::from_be_bytes(field), 0),
        };
        let end = 4 + length as usize;
        if end > MAX_PACKET {
            return Err(violation("a packet is too large"));
        }
        if unread.len() < end + tag {
            return Ok(None);
        }
        let (packet, rest) = unread.split_at_mut(end);
        if let Some(keys) = &self.keys
            && !keys.open(self.sequence, packet, &rest[..tag])
        {
            return Err(violation("a packet is not the client's"));
        }
        let content = match packet.get(4..) {
            Some([padding, content @ ..]) if content.len() > usize::from(*padding) => {
                content[..content.len() - usize::from(*padding)].to_vec()
            }
            _ => return Err(violation("a packet is empty")),
        };
        self.start += end + tag;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(Some(content))
    }
}

/// Packets to the client.
pub(in super::super) struct Output<W> {
    writer: W,
    buffer: Vec<u8>,
    /// Start of what has not been sent from the buffer.
    start: usize,
    sequence: u32,
    keys: Option<Keys>,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    pub(super) fn new(writer: W) -> Self {
        Self {
            writer,
            buffer: Vec::new(),
            start: 0,
            sequence: 0,
            keys: None,
        }
    }

    /// Returns true if all has been sent.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    /// Returns true if so much waits for the client that no more should be made.
    pub(in super::super) fn is_full(&self) -> bool {
        self.buffer.len() - self.start > FULL
    }

    pub(super) fn push_raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Appends a packet.
    pub(in super::super) fn push(&mut self, content: &[u8]) {
        // The encrypted length is not part of what is padded.
        let unpadded = content.len() + if self.keys.is_some() { 1 } else { 5 };
        let padding = MIN_PADDING + (BLOCK - (unpadded + MIN_PADDING) % BLOCK) % BLOCK;
        let length = u32::try_from(1 + content.len() + padding).unwrap_or(u32::MAX);
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.push(u8::try_from(padding).unwrap_or(u8::MAX));
        self.buffer.extend_from_slice(content);
        self.buffer.resize(self.buffer.len() + padding, 0);
        if let Some(keys) = &self.keys {
            let tag = keys.seal(self.sequence, &mut self.buffer[start..]);
            self.buffer.extend_from_slice(&tag);
        }
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Sends a part of what waits. A call that is given up has sent nothing.
    pub(in super::super) async fn send(&mut self) -> io::Result<()> {
        let length = self.writer.write(&self.buffer[self.start..]).await?;
        if length == 0 && !self.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.start += length;
        if self.is_empty() {
            self.buffer.clear();
            self.start = 0;
            self.writer.flush().await?;
        } else if self.start > FULL {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        Ok(())
    }

    pub(in super::super) async fn flush(&mut self) -> io::Result<()> {
        while !self.is_empty() {
            self.send().await?;
        }
        Ok(())
    }

    pub(super) fn set_keys(&mut self, keys: Keys, strict: bool) {
        self.keys = Some(keys);
        if strict {
            self.sequence = 0;
        }
    }
}
