//! Channels and requests of one connection (RFC 4254).

mod channels;
mod open;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::channels::{Channel, State};
use super::Server;
use super::channel::{Event, Stream};
use super::numbers::{
    CHANNEL_CLOSE, CHANNEL_DATA, CHANNEL_EOF, CHANNEL_EXTENDED_DATA, CHANNEL_OPEN,
    CHANNEL_OPEN_CONFIRMATION, CHANNEL_OPEN_FAILURE, CHANNEL_REQUEST, CHANNEL_WINDOW_ADJUST,
    DISCONNECT, GLOBAL_REQUEST, KEXINIT, REQUEST_FAILURE, REQUEST_SUCCESS, STDERR, UNIMPLEMENTED,
};
use super::transport::{Transport, is_noise};
use super::wire::{Fields, Message, violation};
use crate::facts::User;

/// Number of events that tasks may have told before the connection takes one.
const EVENTS: usize = 16;

/// An authenticated connection.
pub(super) struct Connection<'a, S> {
    transport: &'a mut Transport<S>,
    user: User,
    server: &'a Server,
    events: mpsc::Sender<Event>,
    channels: HashMap<u32, Channel>,
    next_channel: u32,
    /// Tasks that accept connections for the client, which end with their set.
    forwards: HashMap<Forward, JoinSet<()>>,
}

/// A listening socket, as the client names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Forward {
    Tcp(String, u32),
    Unix(String),
}

impl<'a, S: AsyncRead + AsyncWrite> Connection<'a, S> {
    pub(super) fn new(
        transport: &'a mut Transport<S>,
        user: User,
        server: &'a Server,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (sender, events) = mpsc::channel(EVENTS);
        let connection = Self {
            transport,
            user,
            server,
            events: sender,
            channels: HashMap::new(),
            next_channel: 0,
            forwards: HashMap::new(),
        };
        (connection, events)
    }

    /// Serves the connection until the client ends it.
    pub(super) async fn run(&mut self, mut events: mpsc::Receiver<Event>) -> io::Result<()> {
        loop {
            let (input, output) = (&mut self.transport.input, &mut self.transport.output);
            let (waits, accepts) = (!output.is_empty(), !output.is_full());
            tokio::select! {
                packet = input.packet(), if accepts => match packet? {
                    Some(message) if message.first() == Some(&DISCONNECT) => return Ok(()),
                    Some(message) => self.receive(&message).await?,
                    None => return Ok(()),
                },
                sent = output.send(), if waits => sent?,
                Some(event) = events.recv(), if accepts => self.on(event),
            }
        }
    }

    fn send(&mut self, message: Message) {
        self.transport.output.push(&message.into_bytes());
    }

    pub(super) async fn receive(&mut self, message: &[u8]) -> io::Result<()> {
        let mut fields = Fields::new(message);
        match fields.byte()? {
            KEXINIT => self.transport.exchange_again(message).await?,
            GLOBAL_REQUEST => self.global_request(fields).await?,
            CHANNEL_OPEN => self.open(fields)?,
            CHANNEL_OPEN_CONFIRMATION => self.opened(fields)?,
            CHANNEL_OPEN_FAILURE => {
                self.channels.remove(&fields.number()?);
            }
            CHANNEL_WINDOW_ADJUST => {
                let channel = fields.number()?;
                let length = fields.number()?;
                self.channel(channel)?.widen(length)?;
            }
            CHANNEL_DATA => {
                let channel = fields.number()?;
                let bytes = fields.bytes()?;
                self.channel(channel)?.receive(bytes).await?;
            }
            CHANNEL_EXTENDED_DATA => {
                // No client sends any; it counts as data all the same.
                let channel = fields.number()?;
                fields.number()?;
                let length = fields.bytes()?.len();
                self.channel(channel)?.spend(length)?;
                self.consumed(channel, length);
            }
            CHANNEL_EOF => {
                let channel = fields.number()?;
                self.channel(channel)?.no_more_data().await?;
            }
            CHANNEL_CLOSE => self.closed(fields.number()?).await?,
            CHANNEL_REQUEST => self.channel_request(fields)?,
            REQUEST_SUCCESS | REQUEST_FAILURE => {}
            _ if is_noise(message) => {}
            _ => {
                // The client's number of the message is only for its log.
                let unknown = Message::new(UNIMPLEMENTED).number(0);
                self.send(unknown);
            }
        }
        Ok(())
    }

    fn channel(&mut self, number: u32) -> io::Result<&mut Channel> {
        self.channels
            .get_mut(&number)
            .ok_or_else(|| violation("the client names a channel that is not open"))
    }

    /// Carries out what a task tells. Its channel may be gone.
    fn on(&mut self, event: Event) {
        match event {
            Event::Data {
                channel,
                stream,
                bytes,
            } => self.data(channel, stream, &bytes),
            Event::Consumed { channel, length } => self.consumed(channel, length),
            Event::Eof { channel } => self.tell(channel, CHANNEL_EOF),
            Event::Exited { channel, status } => self.exited(channel, status),
            Event::Ended { channel } => self.close(channel),
            Event::Connected { channel, result } => self.connected(channel, result),
            Event::Accepted { origin, peer } => self.accepted(&origin, peer),
        }
    }

    fn data(&mut self, channel: u32, stream: Stream, bytes: &[u8]) {
        let Some(remote) = self.channels.get(&channel).map(|channel| channel.remote) else {
            return;
        };
        let message = match stream {
            Stream::Output => Message::new(CHANNEL_DATA).number(remote),
            Stream::Errors => Message::new(CHANNEL_EXTENDED_DATA)
                .number(remote)
                .number(STDERR),
        };
        self.send(message.bytes(bytes));
    }

    /// Lets the client send as much again as has been consumed.
    fn consumed(&mut self, channel: u32, length: usize) {
        let Some(channel) = self.channels.get_mut(&channel) else {
            return;
        };
        if let Some(length) = channel.consumed(length) {
            let message = Message::new(CHANNEL_WINDOW_ADJUST);
            let message = message.number(channel.remote).number(length);
            self.send(message);
        }
    }

    /// Sends a message that has nothing but the channel.
    fn tell(&mut self, channel: u32, kind: u8) {
        if let Some(channel) = self.channels.get(&channel) {
            let message = Message::new(kind).number(channel.remote);
            self.send(message);
        }
    }

    /// Ends a channel from this side. It is forgotten when the client has closed it too.
    fn close(&mut self, number: u32) {
        match self.channels.get_mut(&number).map(Channel::end) {
            Some(State::Open) => self.tell(number, CHANNEL_CLOSE),
            Some(State::Draining) => {
                self.channels.remove(&number);
            }
            Some(State::Ended) | None => {}
        }
    }

    /// Ends a channel that the client has closed.
    async fn closed(&mut self, number: u32) -> io::Result<()> {
        let channel = self.channel(number)?;
        if channel.is_open() {
            self.tell(number, CHANNEL_CLOSE);
        }
        if self.channel(number)?.closed().await? {
            self.channels.remove(&number);
        }
        Ok(())
    }
}
