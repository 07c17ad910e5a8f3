//! Opening channels, from both sides.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use super::channels::{Channel, Role};
use crate::login::server::channel::{Event, MAX_DATA, Origin, Peer, Sink, Source, WINDOW};
use crate::login::server::forward::{Target, carry};
use crate::login::server::numbers::{
    CHANNEL_OPEN, CHANNEL_OPEN_CONFIRMATION, CHANNEL_OPEN_FAILURE, CONNECT_FAILED,
    RESOURCE_SHORTAGE, UNKNOWN_CHANNEL_TYPE,
};
use crate::login::server::wire::{Fields, Message, violation};

/// Most channels of a connection, which is OpenSSH's own limit for sessions where bcvk configures it.
const MAX_CHANNELS: usize = 1000;

impl<S: AsyncRead + AsyncWrite> Connection<'_, S> {
    /// Opens a channel that the client asks for.
    pub(super) fn open(&mut self, mut fields: Fields<'_>) -> io::Result<()> {
        let kind = fields.text()?;
        let remote = fields.number()?;
        let (window, max_data) = (fields.number()?, fields.number()?);
        if self.channels.len() >= MAX_CHANNELS {
            self.refuse(remote, RESOURCE_SHORTAGE, "too many channels");
            return Ok(());
        }
        let local = self.new_number();
        let target = match kind {
            "session" => {
                let (mut channel, source) = Channel::new(local, remote, &self.events);
                let sink = channel.sink(local, &self.events, window, max_data);
                channel.role = Role::Session(Box::default(), Some((source, sink)));
                self.channels.insert(local, channel);
                self.confirm(local);
                return Ok(());
            }
            "direct-tcpip" => Target::Tcp {
                host: fields.text()?.to_owned(),
                port: u16::try_from(fields.number()?)
                    .map_err(|_| violation("the client names a port that cannot be"))?,
            },
            "direct-streamlocal@openssh.com" => Target::Unix(fields.text()?.into()),
            _ => {
                self.refuse(remote, UNKNOWN_CHANNEL_TYPE, "unknown channel type");
                return Ok(());
            }
        };
        let (mut channel, source) = Channel::new(local, remote, &self.events);
        let sink = channel.sink(local, &self.events, window, max_data);
        channel.tasks.spawn(connect(target, source, sink));
        self.channels.insert(local, channel);
        Ok(())
    }

    /// Tells the client of the connection that it wanted.
    pub(super) fn connected(&mut self, channel: u32, result: io::Result<()>) {
        match result {
            Ok(()) => self.confirm(channel),
            Err(error) => {
                if let Some(channel) = self.channels.remove(&channel) {
                    self.refuse(channel.remote, CONNECT_FAILED, &error.to_string());
                }
            }
        }
    }

    /// Offers the client a connection that somebody in the guest has made.
    pub(super) fn accepted(&mut self, origin: &Origin, peer: Peer) {
        if self.channels.len() >= MAX_CHANNELS {
            // The peer sees the end of its connection.
            return;
        }
        let local = self.new_number();
        // The client's number is unknown until it accepts.
        let (mut channel, source) = Channel::new(local, 0, &self.events);
        channel.role = Role::Offered(peer, source);
        self.channels.insert(local, channel);
        let kind = match origin {
            Origin::Tcp { .. } => "forwarded-tcpip",
            Origin::Unix(_) => "forwarded-streamlocal@openssh.com",
            Origin::Agent => "auth-agent@openssh.com",
        };
        let message = Message::new(CHANNEL_OPEN)
            .bytes(kind)
            .number(local)
            .number(WINDOW)
            .number(MAX_DATA);
        self.send(match origin {
            Origin::Tcp {
                address,
                port,
                peer,
            } => message
                .bytes(address)
                .number((*port).into())
                .bytes(peer.ip().to_string())
                .number(peer.port().into()),
            Origin::Unix(path) => message.bytes(path).bytes(""),
            Origin::Agent => message,
        });
    }

    /// Begins to carry a connection that the client has accepted.
    pub(super) fn opened(&mut self, mut fields: Fields<'_>) -> io::Result<()> {
        let local = fields.number()?;
        let remote = fields.number()?;
        let (window, max_data) = (fields.number()?, fields.number()?);
        let events = self.events.clone();
        let channel = self.channel(local)?;
        let Role::Offered(peer, source) = std::mem::replace(&mut channel.role, Role::Connection)
        else {
            return Err(violation(
                "the client confirms a channel that it was not offered",
            ));
        };
        channel.remote = remote;
        let sink = channel.sink(local, &events, window, max_data);
        channel.tasks.spawn(carry(peer, source, sink));
        Ok(())
    }

    /// Returns a number that no channel has had.
    fn new_number(&mut self) -> u32 {
        self.next_channel += 1;
        self.next_channel
    }

    fn confirm(&mut self, local: u32) {
        if let Some(channel) = self.channels.get(&local) {
            let message = Message::new(CHANNEL_OPEN_CONFIRMATION)
                .number(channel.remote)
                .number(local)
                .number(WINDOW)
                .number(MAX_DATA);
            self.send(message);
        }
    }

    fn refuse(&mut self, remote: u32, reason: u32, description: &str) {
        let message = Message::new(CHANNEL_OPEN_FAILURE)
            .number(remote)
            .number(reason)
            .bytes(description)
            .bytes("");
        self.send(message);
    }
}

/// Connects to a socket of the guest, and carries the connection.
async fn connect(target: Target, source: Source, sink: Sink) {
    let channel = sink.channel;
    let (peer, result) = match target.connect().await {
        Ok(peer) => (Some(peer), Ok(())),
        Err(error) => (None, Err(error)),
    };
    let told = sink.tell(Event::Connected { channel, result }).await;
    if let (Ok(()), Some(peer)) = (told, peer) {
        carry(peer, source, sink).await;
    }
}
