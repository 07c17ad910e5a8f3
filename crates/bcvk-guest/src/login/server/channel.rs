//! The two ends of a channel's data, and what tasks tell the connection.
//!
//! Nothing is buffered without bound: data of the client waits in its channel, and the client may send as
//! much again as has been consumed. A task that sends waits for the window that the client has opened.

use std::io;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, SimplexStream};
use tokio::sync::{Notify, Semaphore, mpsc};

/// Amount of data that a client may send before any of it is consumed, as of OpenSSH's
/// (`CHAN_SES_WINDOW_DEFAULT`, channels.h).
pub(super) const WINDOW: u32 = 2 << 20;
/// Largest piece of data, in both directions (`CHAN_SES_PACKET_DEFAULT`).
pub(super) const MAX_DATA: u32 = 32 << 10;

/// A stream in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Somebody at the other end of a socket.
pub(super) type Peer = Box<dyn Duplex>;

/// A listening socket, as the client named it, that a connection came from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Tcp {
        address: String,
        port: u16,
        peer: SocketAddr,
    },
    Unix(String),
    Agent,
}

/// A message from a task to the connection.
pub(super) enum Event {
    /// Data for the client.
    Data {
        channel: u32,
        stream: Stream,
        bytes: Vec<u8>,
    },
    /// So much of the client's data is used up.
    Consumed { channel: u32, length: usize },
    /// No data will follow.
    Eof { channel: u32 },
    /// A process has ended, and with it the channel.
    Exited { channel: u32, status: ExitStatus },
    /// A connection of the channel has ended in both directions, with all data written.
    Ended { channel: u32 },
    /// The connection that a client wanted is there, or not.
    Connected {
        channel: u32,
        result: io::Result<()>,
    },
    /// Somebody has connected to a socket that is forwarded to the client.
    Accepted { origin: Origin, peer: Peer },
}

/// Stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Output,
    Errors,
}

/// End of a channel at which the client's data arrives.
pub(super) struct Source {
    pub(super) channel: u32,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) data: ReadHalf<SimplexStream>,
}

impl Source {
    /// Writes all data of the client. If they cannot be written, they are dropped, as those of a client
    /// of OpenSSH's server are.
    pub(super) async fn feed(&mut self, mut writer: impl AsyncWrite + Unpin) {
        let mut open = true;
        let mut buffer = vec![0; MAX_DATA as usize];
        while let Ok(length @ 1..) = self.data.read(&mut buffer).await {
            let bytes = &buffer[..length];
            open = open && writer.write_all(bytes).await.is_ok() && writer.flush().await.is_ok();
            let event = Event::Consumed {
                channel: self.channel,
                length,
            };
            if self.events.send(event).await.is_err() {
                return;
            }
        }
        if open {
            // The other end may have closed meanwhile.
            let _ = writer.shutdown().await;
        }
    }
}

/// End of a channel that takes data for the client.
#[derive(Clone)]
pub(super) struct Sink {
    pub(super) channel: u32,
    pub(super) events: mpsc::Sender<Event>,
    /// Number of bytes that the client accepts.
    pub(super) window: Arc<Semaphore>,
    /// The client has closed the channel: it wants nothing more.
    pub(super) closed: Arc<Notify>,
    /// Number of bytes that the client accepts at once.
    pub(super) max_data: u32,
}

/// The connection has ended.
#[derive(Debug)]
pub(super) struct Closed;

impl Sink {
    /// Sends all that can be read. An error of the reader is its end.
    pub(super) async fn carry(
        &self,
        mut reader: impl AsyncRead + Unpin,
        stream: Stream,
    ) -> Result<(), Closed> {
        let mut buffer = vec![0; self.max_data as usize];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                let allowed = self.reserve(rest.len()).await?;
                let (bytes, later) = rest.split_at(allowed);
                rest = later;
                self.tell(Event::Data {
                    channel: self.channel,
                    stream,
                    bytes: bytes.to_vec(),
                })
                .await?;
            }
        }
        Ok(())
    }

    pub(super) async fn tell(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }

    /// Waits until the client accepts data, and takes up to `wanted` bytes of its window.
    async fn reserve(&self, wanted: usize) -> Result<usize, Closed> {
        self.window.acquire().await.map_err(|_| Closed)?.forget();
        let more = self.window.available_permits().min(wanted - 1);
        let taken = u32::try_from(more)
            .ok()
            .and_then(|more| self.window.try_acquire_many(more).ok())
            .map(tokio::sync::SemaphorePermit::forget);
        Ok(1 + taken.map_or(0, |()| more))
    }
}
