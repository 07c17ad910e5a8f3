//! The user's own way into the guest: a socket for sessions, and the port that carries them.
//!
//! The guest is not trusted. It can end its sessions, but opens none, and what it sends without being
//! read is bounded ([`login::call`]).

use std::future::poll_fn;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bcvk_contract::missing::if_exists;
use bcvk_guest::login::{self, Link};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net;
use tokio::runtime;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio_util::compat::FuturesAsyncReadCompatExt;

use crate::threads;

/// Most clients that wait for the guest; others wait in the socket's own queue.
const WAITING: usize = 64;

/// Purpose of a stream.
#[derive(Debug)]
enum Wish {
    /// A session of this client.
    Session(net::UnixStream),
    /// The guest is to power off.
    PowerOff,
}

/// Pause before the guest is called again after it has broken off a conversation.
const PAUSE: Duration = Duration::from_millis(100);

/// The sessions of one VM.
#[derive(Debug)]
pub(super) struct Sessions {
    begun: Arc<Notify>,
    wishes: Sender<Wish>,
}

impl Sessions {
    /// Accepts sessions at `socket` (mode 0600) for as long as the supervisor lives, and carries them
    /// over the guest's port once the guest takes them.
    pub(super) fn serve(socket: &Path, port: UnixStream) -> io::Result<Self> {
        if_exists(std::fs::remove_file(socket))?;
        let listener = UnixListener::bind(socket)?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let begun = Arc::new(Notify::new());
        let begins = Arc::clone(&begun);
        let (wishes, queue) = channel(WAITING);
        let accepted = wishes.clone();
        threads::spawn(move || {
            let carried = carry(listener, port, &begins, (accepted, queue));
            if let Err(error) = runtime.block_on(carried) {
                tracing::warn!(%error, "no more sessions");
            }
        });
        Ok(Self { begun, wishes })
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
}

async fn carry(
    listener: UnixListener,
    port: UnixStream,
    begun: &Notify,
    (accepted, mut wishes): (Sender<Wish>, Receiver<Wish>),
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = net::UnixListener::from_std(listener)?;
    port.set_nonblocking(true)?;
    let mut port = net::UnixStream::from_std(port)?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if accepted.send(Wish::Session(client)).await.is_err() {
                return;
            }
        }
    });
    begun.notified().await;
    loop {
        let conversation = async {
            let number = random()?;
            let link = login::call(&mut port, number).await?;
            converse(link, &mut wishes).await;
            io::Result::Ok(())
        };
        tokio::select! {
            () = begun.notified() => {}
            ended = conversation => {
                ended?;
                tokio::time::sleep(PAUSE).await;
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

/// Carries sessions until the guest breaks off.
async fn converse<S>(mut link: Link<S>, wishes: &mut Receiver<Wish>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut waiting = None;
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::thread;

    use super::*;
    use bcvk_contract::untrusted;

    /// A guest whose sessions return what they are sent, in capitals.
    fn guest(port: UnixStream) {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        thread::spawn(move || {
            runtime.block_on(async {
                port.set_nonblocking(true).expect("set");
                let mut port = net::UnixStream::from_std(port).expect("a stream");
                while let Ok(mut link) = login::answer(&mut port).await {
                    while let Some(Ok(session)) = poll_fn(|cx| link.poll_next_inbound(cx)).await {
                        tokio::spawn(async move {
                            let mut session = session.compat();
                            let mut wish = [0; login::SSH.len()];
                            session.read_exact(&mut wish).await.expect("a wish");
                            assert_eq!(&wish, login::SSH);
                            let mut buffer = vec![0; 1 << 16];
                            while let Ok(n @ 1..) = session.read(&mut buffer).await {
                                buffer[..n].make_ascii_uppercase();
                                if session.write_all(&buffer[..n]).await.is_err() {
                                    return;
                                }
                            }
                            let _ = session.shutdown().await;
                        });
                    }
                }
            });
        });
    }

    fn answered(client: &mut UnixStream, text: &str) -> String {
        client.write_all(text.as_bytes()).expect("write");
        let mut heard = vec![0; text.len()];
        client.read_exact(&mut heard).expect("read");
        String::from_utf8(heard).expect("text")
    }

    fn connected() -> (tempfile::TempDir, Sessions, impl Fn() -> UnixStream) {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("ssh.sock");
        let (ours, guests) = UnixStream::pair().expect("a pair");
        let sessions = Sessions::serve(&socket, ours).expect("served");
        let mode = std::fs::metadata(&socket).expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "only its owner may connect");
        guest(guests);
        let connect = move || untrusted::connect_to(&socket).expect("connected");
        (dir, sessions, connect)
    }

    #[test]
    fn a_client_waits_for_the_guest() {
        let (_dir, sessions, connect) = connected();
        let mut client = connect();
        client.write_all(b"early ").expect("write");
        sessions.begin();
        assert_eq!(answered(&mut client, "late"), "EARL");
        client.shutdown(std::net::Shutdown::Write).expect("closed");
        let mut rest = String::new();
        client.read_to_string(&mut rest).expect("the end");
        assert_eq!(rest, "Y LATE");
    }

    #[test]
    fn a_guest_that_starts_again_takes_new_sessions_and_ends_the_old() {
        let (_dir, sessions, connect) = connected();
        sessions.begin();
        let mut old = connect();
        assert_eq!(answered(&mut old, "hello"), "HELLO");
        for _ in 0..3 {
            sessions.begin();
            assert_eq!(old.read(&mut [0]).expect("its end"), 0);
            old = connect();
            assert_eq!(answered(&mut old, "again"), "AGAIN");
        }
    }

    #[test]
    fn a_guest_is_asked_to_power_off_once_it_listens() {
        let dir = tempfile::tempdir().expect("a directory");
        let (ours, guests) = UnixStream::pair().expect("a pair");
        let sessions = Sessions::serve(&dir.path().join("ssh.sock"), ours).expect("served");
        sessions.power_off();
        sessions.begin();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            guests.set_nonblocking(true).expect("set");
            let mut port = net::UnixStream::from_std(guests).expect("a stream");
            let mut link = login::answer(&mut port).await.expect("a link");
            let stream = poll_fn(|cx| link.poll_next_inbound(cx)).await;
            let mut stream = stream.expect("a stream").expect("no error").compat();
            let read = async {
                let mut wish = [0; login::POWER_OFF.len()];
                stream.read_exact(&mut wish).await.expect("a wish");
                wish
            };
            let link = poll_fn(|cx| link.poll_next_inbound(cx));
            tokio::select! {
                wish = read => assert_eq!(&wish, login::POWER_OFF),
                _ = link => panic!("the link has ended"),
            }
        });
    }

    #[test]
    fn forty_sessions_at_once_carry_what_they_are_given() {
        let (_dir, sessions, connect) = connected();
        sessions.begin();
        let all: Vec<_> = (0..40)
            .map(|n: u8| {
                let mut client = connect();
                thread::spawn(move || {
                    let letters = b'a'..=b'z';
                    let text: Vec<u8> = letters.cycle().skip(n.into()).take(1_000_000).collect();
                    let mut sender = client.try_clone().expect("a clone");
                    let sent = text.clone();
                    let writes = thread::spawn(move || {
                        sender.write_all(&sent).expect("written");
                        sender.shutdown(std::net::Shutdown::Write).expect("closed");
                    });
                    let mut heard = Vec::new();
                    client.read_to_end(&mut heard).expect("read");
                    writes.join().expect("no panic");
                    assert!(heard == text.to_ascii_uppercase());
                })
            })
            .collect();
        for session in all {
            session.join().expect("no panic");
        }
    }

    #[test]
    fn what_a_guest_says_out_of_turn_costs_it_its_sessions_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("ssh.sock");
        let (ours, mut guests) = UnixStream::pair().expect("a pair");
        let sessions = Sessions::serve(&socket, ours).expect("served");
        sessions.begin();
        let again = guests.try_clone().expect("a clone");
        guests.write_all(&vec![0xff; 100_000]).expect("written");
        guest(again);
        let mut client = untrusted::connect_to(&socket).expect("connected");
        assert_eq!(answered(&mut client, "hello"), "HELLO");
    }
}
