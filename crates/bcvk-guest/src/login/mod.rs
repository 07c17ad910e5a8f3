//! The user's way into a guest, which depends on nothing of the image's.
//!
//! The supervisor hands each session over on a virtio-serial port, so there is no network, firewall or
//! port in between. Who serves it is decided for each conversation: the image's sshd with our files
//! ([`image`]), wherever that can let root in.

mod identity;
pub(crate) mod image;
mod link;
mod network;
mod port;

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bcvk_contract::control::Message;
use bcvk_contract::guest_port;
use bcvk_contract::spec::Ready;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::runtime;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::compat::FuturesAsyncReadCompatExt;

pub(crate) use identity::{FILE, Identity};
pub use link::{Link, answer, call};

use crate::port::{open, tell};
use image::ImageSshd;
use port::Port;

/// First bytes of each stream of the link: what the user wants of it.
pub const SSH: &[u8] = b"ssh\n";

/// Pause between two looks for somebody at the other end of the port.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves sessions for as long as the system runs.
///
/// # Errors
/// If the port cannot be used.
pub fn serve() -> io::Result<()> {
    let file = open(guest_port::SESSIONS)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut port = Port::new(file)?;
        tell(&Message::Sessions);
        let network = Arc::new(OnceCell::new());
        loop {
            match answer(&mut port).await {
                Ok(link) => converse(link, &network).await?,
                // Nobody has opened the other end.
                Err(_) => sleep(PAUSE).await,
            }
        }
    })
}

/// Serves the sessions of one conversation. Those that still run when it ends lose their client.
/// The first of all waits for the `network`, unless its user wants to be in as early as possible.
async fn converse<S>(mut link: Link<S>, network: &Arc<OnceCell<()>>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let run = Path::new("/run");
    let identity = Identity::read(run)?;
    let waits = match identity.ready {
        Ready::Deployed => true,
        Ready::Early => false,
    };
    let sshd = match ImageSshd::find(Path::new("/")) {
        Some(program) => {
            // Without it, a login may take its time, and works.
            let _ = image::name_the_client(Path::new("/etc/hosts"));
            Some(Arc::new(ImageSshd::new(program, run, &identity)?))
        }
        None => None,
    };
    let mut sessions = JoinSet::new();
    while let Some(Ok(session)) = poll_fn(|cx| link.poll_next_inbound(cx)).await {
        while sessions.try_join_next().is_some() {}
        let (sshd, network) = (sshd.clone(), Arc::clone(network));
        sessions.spawn(async move {
            if waits {
                network
                    .get_or_init(|| network::settle(Path::new("/proc")))
                    .await;
            }
            // The client sees the end of its stream; there is nobody else to tell.
            let _ = session_of(session.compat(), sshd.as_deref()).await;
        });
    }
    Ok(())
}

async fn session_of(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    sshd: Option<&ImageSshd>,
) -> io::Result<()> {
    let mut wish = [0; SSH.len()];
    client.read_exact(&mut wish).await?;
    match sshd {
        Some(sshd) if wish == SSH => sshd.serve(client).await,
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Carries bytes both ways until the server has said everything: nothing more can follow from the
/// client then.
///
/// # Errors
/// If the server's words cannot be carried.
pub async fn relay(
    client: impl AsyncRead + AsyncWrite + Unpin,
    server: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = split(server);
    let asked = async {
        let _ = copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
        std::future::pending::<()>().await;
    };
    let answered = async {
        copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::select! {
        answered = answered => answered,
        () = asked => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn a_client_that_has_said_everything_still_hears_the_answer() {
        let (mut client, ours) = duplex(100);
        let (theirs, mut server) = duplex(100);
        let relayed = tokio::spawn(relay(ours, theirs));
        client.write_all(b"question").await.expect("written");
        client.shutdown().await.expect("closed");
        let mut asked = String::new();
        server.read_to_string(&mut asked).await.expect("read");
        assert_eq!(asked, "question");
        server.write_all(b"answer").await.expect("written");
        drop(server);
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.expect("read");
        assert_eq!(heard, "answer");
        relayed.await.expect("no panic").expect("no error");
    }

    #[tokio::test]
    async fn a_server_that_has_ended_ends_the_session() {
        let (client, ours) = duplex(100);
        let (theirs, server) = duplex(100);
        drop(server);
        relay(ours, theirs).await.expect("no error");
        drop(client);
    }
}
