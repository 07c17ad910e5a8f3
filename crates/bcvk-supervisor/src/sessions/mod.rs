//! The user's own way into the guest: a socket for sessions, and the port that carries them.
//!
//! The guest is not trusted. It can end its sessions, but opens none, and what it sends without being
//! read is bounded ([`login::call`]).

/// Returns true if this is how the port's other end tells that it is gone.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bcvk_contract::missing::if_exists;
use bcvk_guest::agent::Renewal;
use bcvk_guest::login::{self, Link};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net;
use tokio::runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::compat::FuturesAsyncReadCompatExt;

use crate::threads;

/// Most clients that wait for the guest; others wait in the socket's own queue.
const WAITING: usize = 64;

/// Time for a guest to hear that it is to be quiet, or what it is told after that. An emulated one may
/// have a part of a processor only.
const PATIENCE: Duration = Duration::from_secs(20);

/// Purpose of a stream.
#[derive(Debug)]
enum Wish {
    /// A session of this client.
    Session(net::UnixStream),
    /// The guest is to power off.
    PowerOff,
    /// The guest is told what has changed while it was away.
    Renew(Renewal, oneshot::Sender<()>),
}

/// Pause before the guest is called again after it has broken off a conversation.
const PAUSE: Duration = Duration::from_millis(100);

/// Order of the supervisor's to who carries the sessions.
#[derive(Debug)]
enum Order {
    /// End all sessions, and say so once the guest only waits for the next conversation.
    Quieten(oneshot::Sender<io::Result<()>>),
    /// End all sessions of a guest that will not have been.
    Drop(oneshot::Sender<io::Result<()>>),
    /// Go on, and say so once the guest has taken the news, if there is any.
    GoOn(Option<Renewal>, oneshot::Sender<io::Result<()>>),
}

/// The sessions of one VM.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    begun: Arc<Notify>,
    wishes: Sender<Wish>,
    orders: Sender<Order>,
}

impl Sessions {
    /// Accepts sessions at `socket` (mode 0600) for as long as the supervisor lives, and carries them
    /// over the guest's port once the guest takes them.
    pub(super) fn serve(socket: &Path, port: UnixStream) -> io::Result<Self> {
        let listener = listen(socket)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let begun = Arc::new(Notify::new());
        let (wishes, queue) = channel(WAITING);
        let (orders, given) = channel(1);
        let ends = Ends {
            begun: Arc::clone(&begun),
            accepted: wishes.clone(),
            wishes: queue,
            orders: given,
        };
        threads::spawn(move || {
            match runtime.block_on(carry(listener, port, ends)) {
                // QEMU has ended, and the VM with it.
                Err(error) if is_closed(&error) => tracing::debug!(%error, "no more sessions"),
                Err(error) => tracing::warn!(%error, "no more sessions"),
                Ok(()) => {}
            }
        });
        Ok(Self {
            begun,
            wishes,
            orders,
        })
    }

    /// Asks the guest to power off, once it takes sessions. It need not hear its power button.
    pub(super) fn power_off(&self) {
        // With so many clients who wait, the guest would not hear this either.
        let _ = self.wishes.try_send(Wish::PowerOff);
    }

    /// Begins a conversation with the guest, whose program for sessions has started. One that goes on
    /// is given up: it was with a program that has ended.
    pub(super) fn begin(&self) {
        self.begun.notify_one();
    }

    /// Ends all sessions, and waits until the guest does nothing but wait for the next conversation.
    /// Clients that come after that wait for [`Self::go_on`].
    ///
    /// # Errors
    /// If the guest does not answer; its sessions go on then.
    pub(super) fn quieten(&self) -> io::Result<()> {
        self.order(Order::Quieten)
    }

    /// Ends all sessions of a guest that is about to be taken back to when it was quiet.
    ///
    /// # Errors
    /// If nobody carries sessions any more.
    pub(super) fn drop_all(&self) -> io::Result<()> {
        self.order(Order::Drop)
    }

    /// Lets clients in again, and tells a guest that was taken back what it has missed.
    ///
    /// # Errors
    /// If the guest does not take it.
    pub(super) fn go_on(&self, news: Option<Renewal>) -> io::Result<()> {
        self.order(|said| Order::GoOn(news, said))
    }

    fn order(
        &self,
        order: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Order,
    ) -> io::Result<()> {
        let gone = || io::Error::other("nobody carries sessions any more");
        let (said, answer) = oneshot::channel();
        self.orders.blocking_send(order(said)).map_err(|_| gone())?;
        answer.blocking_recv().map_err(|_| gone())?
    }
}

/// Returns a socket at `path` (mode 0600) that only its owner may connect to.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    if_exists(std::fs::remove_file(path))?;
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Ends of the channels to who carries the sessions.
struct Ends {
    begun: Arc<Notify>,
    accepted: Sender<Wish>,
    wishes: Receiver<Wish>,
    orders: Receiver<Order>,
}

async fn carry(listener: UnixListener, port: UnixStream, mut ends: Ends) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = net::UnixListener::from_std(listener)?;
    port.set_nonblocking(true)?;
    let mut port = net::UnixStream::from_std(port)?;
    let accepted = ends.accepted;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if accepted.send(Wish::Session(client)).await.is_err() {
                return;
            }
        }
    });
    let mut news = None;
    tokio::select! {
        () = ends.begun.notified() => {}
        order = ends.orders.recv() => match order {
            Some(order) => news = hold(&mut port, order, &mut ends.orders).await?,
            None => return Ok(()),
        },
    }
    loop {
        let conversation = async {
            let link = login::call(&mut port, random()?).await?.go().await?;
            converse(link, &mut ends.wishes, news.take()).await;
            io::Result::Ok(())
        };
        let order = tokio::select! {
            () = ends.begun.notified() => continue,
            order = ends.orders.recv() => order,
            ended = conversation => {
                ended?;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(order) = order else { return Ok(()) };
        news = hold(&mut port, order, &mut ends.orders).await?;
    }
}

/// Carries out an order to hold sessions back, until they may go on; returns what the guest is told
/// then.
async fn hold(
    port: &mut net::UnixStream,
    order: Order,
    orders: &mut Receiver<Order>,
) -> io::Result<Option<Wish>> {
    match order {
        Order::Quieten(said) => {
            let quiet = async {
                login::break_off(&mut *port).await?;
                login::call_still(&mut *port, random()?).await
            };
            let quiet = timeout(PATIENCE, quiet).await;
            let quiet = quiet.unwrap_or_else(|_| Err(io::Error::other("it does not answer")));
            let failed = quiet.is_err();
            let _ = said.send(quiet);
            if failed {
                return Ok(None);
            }
        }
        Order::Drop(said) => drop(said.send(Ok(()))),
        Order::GoOn(_, said) => {
            let _ = said.send(Ok(()));
            return Ok(None);
        }
    }
    loop {
        match orders.recv().await {
            None => return Err(io::ErrorKind::BrokenPipe.into()),
            Some(Order::Quieten(said) | Order::Drop(said)) => drop(said.send(Ok(()))),
            Some(Order::GoOn(None, said)) => {
                let _ = said.send(Ok(()));
                return Ok(None);
            }
            Some(Order::GoOn(Some(news), said)) => {
                let (taken, heard) = oneshot::channel();
                tokio::spawn(async move {
                    let heard = timeout(PATIENCE, heard).await;
                    let heard = heard.is_ok_and(|heard| heard.is_ok());
                    let ignored = || io::Error::other("the guest does not take its news");
                    let _ = said.send(heard.then_some(()).ok_or_else(ignored));
                });
                return Ok(Some(Wish::Renew(news, taken)));
            }
        }
    }
}

/// An event of a conversation.
enum Turn {
    /// The guest has opened a stream, which it has no reason for, or ended the conversation.
    Guest { ended: bool },
    /// A stream for this.
    Stream(Wish, yamux::Stream),
    /// The conversation cannot have any more streams.
    Ended,
}

/// Carries sessions until the guest breaks off, after the `first` wish.
async fn converse<S>(mut link: Link<S>, wishes: &mut Receiver<Wish>, first: Option<Wish>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut waiting = first;
    // They end with the conversation.
    let mut sessions = JoinSet::new();
    loop {
        while sessions.try_join_next().is_some() {}
        match poll_fn(|cx| turn(&mut link, wishes, &mut waiting, cx)).await {
            Turn::Guest { ended: false } => {}
            Turn::Guest { ended: true } | Turn::Ended => return,
            Turn::Stream(wish, stream) => {
                // The client sees the end of the connection; there is nobody else to tell.
                sessions.spawn(async move { drop(fulfil(wish, stream).await) });
            }
        }
    }
}

/// Says what the stream is for, and carries its session.
async fn fulfil(wish: Wish, stream: yamux::Stream) -> io::Result<()> {
    let mut stream = stream.compat();
    match wish {
        Wish::Session(client) => {
            stream.write_all(login::SSH).await?;
            login::relay(client, stream).await
        }
        Wish::PowerOff => {
            stream.write_all(login::POWER_OFF).await?;
            // The guest ends the stream once it powers off.
            stream.read(&mut [0]).await.map(drop)
        }
        Wish::Renew(renewal, taken) => {
            stream.write_all(login::RENEW).await?;
            stream.write_all(&login::news(&renewal)?).await?;
            let mut said = [0; login::RENEWED.len()];
            stream.read_exact(&mut said).await?;
            if &said == login::RENEWED {
                // Who waited for it has given up.
                let _ = taken.send(());
            }
            Ok(())
        }
    }
}

fn turn<S>(
    link: &mut Link<S>,
    wishes: &mut Receiver<Wish>,
    waiting: &mut Option<Wish>,
    cx: &mut Context<'_>,
) -> Poll<Turn>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if waiting.is_none()
        && let Poll::Ready(Some(wish)) = wishes.poll_recv(cx)
    {
        *waiting = Some(wish);
    }
    if waiting.is_some()
        && let Poll::Ready(stream) = link.poll_new_outbound(cx)
    {
        return Poll::Ready(match (waiting.take(), stream) {
            (Some(wish), Ok(stream)) => Turn::Stream(wish, stream),
            _ => Turn::Ended,
        });
    }
    link.poll_next_inbound(cx).map(|stream| Turn::Guest {
        ended: !matches!(stream, Some(Ok(_))),
    })
}

fn random() -> io::Result<u64> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_be_bytes(random))
}
