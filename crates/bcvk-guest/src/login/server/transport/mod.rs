//! Packets and their encryption (RFC 4253).

mod cipher;
mod exchange;
mod hybrid;
mod packets;

use std::io;

use ssh_key::PrivateKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};

pub(super) use self::exchange::KEY_ALGORITHM;
use self::packets::{Input, Output};
use super::numbers::{DEBUG, DISCONNECT, IGNORE, PROTOCOL_ERROR, UNIMPLEMENTED};
use super::wire::{Message, violation};

/// Identification of this server (RFC 4253, section 4.2).
const VERSION: &str = concat!("SSH-2.0-bcvk_", env!("CARGO_PKG_VERSION"));

/// Encrypted packets in both directions of a stream.
pub(super) struct Transport<S> {
    pub(super) input: Input<ReadHalf<S>>,
    pub(super) output: Output<WriteHalf<S>>,
    host_key: PrivateKey,
    client_version: Vec<u8>,
    session_id: Vec<u8>,
    strict: bool,
}

impl<S: AsyncRead + AsyncWrite> Transport<S> {
    /// Makes a transport that has no keys yet.
    pub(super) fn unencrypted(stream: S, host_key: PrivateKey) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            input: Input::new(reader),
            output: Output::new(writer),
            host_key,
            client_version: Vec::new(),
            session_id: Vec::new(),
            strict: false,
        }
    }

    /// Exchanges versions and keys with the client.
    pub(super) async fn new(stream: S, host_key: PrivateKey) -> io::Result<Self> {
        let mut transport = Self::unencrypted(stream, host_key);
        transport.output.push_raw(VERSION.as_bytes());
        transport.output.push_raw(b"\r\n");
        transport.output.flush().await?;
        transport.client_version = transport.input.version().await?;
        transport.first_exchange().await?;
        Ok(transport)
    }

    /// Hash that names the connection (RFC 4253, section 7.2).
    pub(super) fn session_id(&self) -> &[u8] {
        &self.session_id
    }

    /// Sends what is to be sent, and returns the next message; `None` if the client has gone.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            self.output.flush().await?;
            match self.input.packet().await? {
                Some(message) if is_noise(&message) => {}
                Some(message) if message.first() == Some(&DISCONNECT) => return Ok(None),
                other => return Ok(other),
            }
        }
    }

    /// Tells the client why the connection ends.
    pub(super) async fn disconnect(&mut self, reason: &io::Error) {
        let message = Message::new(DISCONNECT)
            .number(PROTOCOL_ERROR)
            .bytes(reason.to_string())
            .bytes("");
        self.output.push(&message.into_bytes());
        // The client may have gone, and the connection ends anyway.
        let _ = self.output.flush().await;
    }
}

/// Returns true if a message has nothing to be done for it.
pub(super) fn is_noise(message: &[u8]) -> bool {
    matches!(message.first(), Some(&(IGNORE | DEBUG | UNIMPLEMENTED)))
}

/// Fills an array from the kernel's randomness.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // Requests of up to 256 bytes are neither interrupted nor cut short (getrandom(2)).
    let length = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if length == N {
        Ok(bytes)
    } else {
        Err(violation("the kernel gave too little randomness"))
    }
}
