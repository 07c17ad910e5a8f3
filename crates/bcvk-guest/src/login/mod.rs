//! The user's way into a guest, which depends on nothing of the image's.
//!
//! The supervisor hands each session over on a virtio-serial port, so there is no network, firewall or
//! port in between. Who serves it is decided for each: the image's sshd with our files ([`image`]),
//! wherever that lets the user in, or else a server of our own ([`server`]).
//!
//! The host is told twice: as soon as sessions are served, and once a deployed system would answer
//! ([`deployed`]). A session is served at any time; who wants the second moment waits on the host.

mod clock;
pub(crate) mod deployed;
mod device;
mod identity;
pub(crate) mod image;
mod link;
mod renewal;
mod server;
mod user;

use std::fs;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bcvk_contract::control::Message;
use bcvk_contract::guest_port;
use bcvk_contract::spec::Expose;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy, split};
use tokio::process::Command;
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::compat::FuturesAsyncReadCompatExt;

pub(crate) use identity::{FILE, Identity};
pub use link::{Answered, Link, answer, break_off, call, call_still};
pub use renewal::{RENEWED, news};
#[cfg(any(test, fuzzing))]
pub(crate) use server::fuzzing;
pub use server::{Launch, exec_session};

use crate::facts::{find_user, is_executable};
use crate::port::{open, tell};
use crate::rooted::Rooted;
use crate::services::report_listening;
use clock::SteadyClock;
use device::Device;
use image::ImageSshd;
use server::Server;

/// First bytes of each stream of the link, of one length: what it is for. The first is a session.
pub const SSH: &[u8; 4] = b"ssh\n";

/// Another: the system is to power off.
pub const POWER_OFF: &[u8; 4] = b"off\n";

/// The last: the guest was taken back to an earlier state, and is told what has changed since.
pub const RENEW: &[u8; 4] = b"now\n";

/// Pause between two looks for somebody at the other end of the port.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves sessions for as long as the system runs, and tells the host on which ports the system listens
/// if that is what it `exposes`.
///
/// # Errors
/// If the port cannot be used.
pub fn serve(exposes: Expose) -> io::Result<()> {
    let file = open(guest_port::SESSIONS)?;
    match exposes {
        // Without a table of sockets, there are sessions all the same.
        Expose::All => drop(thread::spawn(report_listening)),
        Expose::None => {}
    }
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut port = Device::new(file)?;
        tell(&Message::Sessions);
        tokio::spawn(async {
            let [run, proc, sys] = ["/run", "/proc", "/sys"].map(Path::new);
            // Where the sign cannot be waited for, nothing better than now is known.
            let _ = deployed::answers(run, proc, sys).await;
            tell(&Message::Answers);
        });
        let mut clock = SteadyClock::at(Path::new("/"));
        loop {
            match answer(&mut port, || clock.begin()).await {
                Ok(link) => {
                    clock.end();
                    converse(link).await?;
                }
                // Nobody has opened the other end.
                Err(_) => sleep(PAUSE).await,
            }
        }
    })
}

/// Servers of the sessions of one conversation.
struct Servers {
    image: Option<ImageSshd>,
    own: Server,
}

impl Servers {
    fn of(identity: &Identity) -> io::Result<Self> {
        let found = ImageSshd::find(Path::new("/"));
        let image = match found.filter(|_| image::add_pam_service(Path::new("/etc/pam.d")).is_ok())
        {
            Some(program) => {
                // Without it, a login may take its time, and works.
                let _ = image::name_the_client(Path::new("/etc/hosts"));
                Some(ImageSshd::new(program, Path::new("/run"), identity)?)
            }
            None => None,
        };
        let own = Server::new(identity)?;
        Ok(Self { image, own })
    }

    /// Serves one session.
    async fn session(&self, client: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut client = BufReader::new(client);
        let mut wish = [0; SSH.len()];
        client.read_exact(&mut wish).await?;
        match &wish {
            SSH => {}
            POWER_OFF => return power_off().await,
            RENEW => return renewal::serve(&mut client).await,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        let name = user::announced(&mut client).await?;
        if let Some(sshd) = &self.image
            && lets_in(name.as_deref().unwrap_or("root"))
            && let Some(greeted) = sshd.start().await?
        {
            return greeted.serve(client).await;
        }
        self.own.serve(client).await
    }
}

/// Powers the system off, as its power button does where logind listens to that. A system without logind
/// or a message bus does not hear the button, and one whose desktop has taken it over asks its user.
async fn power_off() -> io::Result<()> {
    // Its words are in the journal.
    Command::new("systemctl")
        .args(["--no-block", "--check-inhibitors=no", "poweroff"])
        .stdin(Stdio::null())
        .status()
        .await
        .map(drop)
}

/// Returns true if the image's sshd lets this user run commands: with a shell that is none, it would end
/// each session at once. A user of no file may be one of a name service that sshd asks.
fn lets_in(name: &str) -> bool {
    let found = Rooted::new(Path::new("/")).and_then(|root| find_user(&root, name));
    found.is_ok_and(|user| user.is_none_or(|user| user.shell.is_some()))
}

/// Returns true if there is a program at `path` of this system.
fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| is_executable(&found))
}

/// Serves the sessions of one conversation. Those that still run when it ends lose their client.
async fn converse<S>(mut link: Link<S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let identity = Identity::read(Path::new("/run"))?;
    let servers = Arc::new(Servers::of(&identity)?);
    let mut sessions = JoinSet::new();
    while let Some(Ok(session)) = poll_fn(|cx| link.poll_next_inbound(cx)).await {
        while sessions.try_join_next().is_some() {}
        let servers = Arc::clone(&servers);
        sessions.spawn(async move {
            // The client sees the end of its stream; there is nobody else to tell.
            let _ = servers.session(session.compat()).await;
        });
    }
    Ok(())
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
