//! State of an open channel.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt, SimplexStream, WriteHalf, simplex};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::login::server::channel::{Event, MAX_DATA, Peer, Sink, Source, WINDOW};
use crate::login::server::session::Session;
use crate::login::server::wire::violation;

/// Amount of consumed data after which the client is told.
const ADJUST_AFTER: u32 = WINDOW / 8;

/// A channel that is open, or that one side wants to open.
pub(super) struct Channel {
    /// The client's number of the channel.
    pub(super) remote: u32,
    /// Tasks of the channel, which end with it.
    pub(super) tasks: JoinSet<()>,
    pub(super) role: Role,
    /// Takes the client's data until their end. It holds as much as the client may send, so writing to
    /// it never waits.
    data: Option<WriteHalf<SimplexStream>>,
    /// Number of bytes that the client may send.
    open: u32,
    /// Number of bytes that are used up without the client knowing.
    used: u32,
    /// Number of bytes that may be sent to the client.
    window: Arc<Semaphore>,
    /// Tells the task of a connection that the client has closed the channel.
    closed: Arc<Notify>,
    state: State,
}

/// Progress of a channel's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// Closed from this side; the client has not answered.
    Ended,
    /// Closed by the client, with data that are still to be written.
    Draining,
}

/// Use of a channel.
pub(super) enum Role {
    /// A session, which has no process while it has the ends of the channel.
    Session(Box<Session>, Option<(Source, Sink)>),
    /// A connection of the guest that the client has not accepted yet.
    Offered(Peer, Source),
    /// A connection.
    Connection,
}

impl Channel {
    /// Makes a channel with the number `local` here, and the end at which the client's data arrives.
    pub(super) fn new(local: u32, remote: u32, events: &mpsc::Sender<Event>) -> (Self, Source) {
        let (data, sender) = simplex(WINDOW as usize);
        let channel = Self {
            remote,
            tasks: JoinSet::new(),
            role: Role::Connection,
            data: Some(sender),
            open: WINDOW,
            used: 0,
            window: Arc::new(Semaphore::new(0)),
            closed: Arc::default(),
            state: State::Open,
        };
        let source = Source {
            channel: local,
            events: events.clone(),
            data,
        };
        (channel, source)
    }

    /// Returns the end that takes data for the client, which accepts `window` bytes.
    pub(super) fn sink(
        &self,
        local: u32,
        events: &mpsc::Sender<Event>,
        window: u32,
        max_data: u32,
    ) -> Sink {
        self.window.add_permits(window as usize);
        Sink {
            channel: local,
            events: events.clone(),
            window: Arc::clone(&self.window),
            closed: Arc::clone(&self.closed),
            max_data: max_data.clamp(1, MAX_DATA),
        }
    }

    /// Lets more data be sent to the client.
    pub(super) fn widen(&mut self, length: u32) -> io::Result<()> {
        let open = self.window.available_permits();
        if open + length as usize > u32::MAX as usize {
            return Err(violation("the client's window is too large"));
        }
        self.window.add_permits(length as usize);
        Ok(())
    }

    pub(super) async fn receive(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.spend(bytes.len())?;
        match &mut self.data {
            Some(data) => data.write_all(bytes).await,
            None => Ok(()),
        }
    }

    /// Takes data from the client's window.
    pub(super) fn spend(&mut self, length: usize) -> io::Result<()> {
        let rest = u32::try_from(length)
            .ok()
            .and_then(|length| self.open.checked_sub(length));
        self.open = rest.ok_or_else(|| violation("the client sends more than its window"))?;
        Ok(())
    }

    /// Returns by how much the client's window is to be opened, if it is time.
    pub(super) fn consumed(&mut self, length: usize) -> Option<u32> {
        self.used += u32::try_from(length).unwrap_or(WINDOW);
        if self.used < ADJUST_AFTER || self.state != State::Open {
            return None;
        }
        let length = std::mem::take(&mut self.used);
        self.open += length;
        Some(length)
    }

    pub(super) async fn no_more_data(&mut self) -> io::Result<()> {
        match self.data.take() {
            Some(mut data) => data.shutdown().await,
            None => Ok(()),
        }
    }

    /// Returns true if no side has closed the channel.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Ends the channel from this side, and returns the state that it had.
    pub(super) fn end(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Ended)
    }

    /// Ends the channel because the client has closed it. Returns false if it has data that are still to
    /// be written to a connection.
    pub(super) async fn closed(&mut self) -> io::Result<bool> {
        if self.state == State::Open && matches!(self.role, Role::Connection) {
            self.state = State::Draining;
            self.no_more_data().await?;
            self.closed.notify_one();
            return Ok(false);
        }
        Ok(true)
    }
}
