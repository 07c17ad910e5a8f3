//! An SSH server of our own, for whomever the image's sshd cannot let in.
//!
//! It serves one connection on any stream, and does what OpenSSH's client asks of OpenSSH's server. The
//! one who connects is the host, which owns the guest: the encryption is there because the protocol has
//! no other form, and the key only tells that the VM is the one that was meant. All the same, nothing
//! that a client sends is a panic, and what it makes the server keep is bounded.

mod auth;
mod channel;
mod connection;
mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod launch;
mod numbers;
mod session;
mod sftp;
#[cfg(test)]
mod tests;
mod transport;
mod wire;

use std::io;
use std::path::PathBuf;

use ssh_key::{PrivateKey, PublicKey};
use tokio::io::{AsyncRead, AsyncWrite};

use self::connection::Connection;
pub use self::launch::{Launch, exec_session};
use self::session::Launcher;
use self::transport::Transport;
use super::identity::Identity;

/// The server of one VM.
#[derive(Debug)]
pub(super) struct Server {
    host_key: PrivateKey,
    authorized: PublicKey,
    environment: Vec<(String, String)>,
    root: PathBuf,
    launcher: Launcher,
}

impl Server {
    /// Makes the server of the guest that this program runs in.
    ///
    /// # Errors
    /// If the keys are not Ed25519 keys.
    pub(super) fn new(identity: &Identity) -> io::Result<Self> {
        let host_key = PrivateKey::from_openssh(&identity.host_key).map_err(io::Error::other)?;
        let authorized =
            PublicKey::from_openssh(&identity.authorized_key).map_err(io::Error::other)?;
        if !host_key.algorithm().is_ed25519() || !authorized.algorithm().is_ed25519() {
            return Err(io::Error::other("a key is not an Ed25519 key"));
        }
        let variables = identity.environment.iter();
        Ok(Self {
            host_key,
            authorized,
            environment: variables
                .map(|var| (var.name.clone(), var.value.clone()))
                .collect(),
            root: "/".into(),
            launcher: Launcher::of_this_program(),
        })
    }

    /// Serves one connection until the client ends it. What still runs for it then is told to hang up.
    ///
    /// # Errors
    /// If the client does not keep to the protocol, or its stream breaks.
    pub(super) async fn serve<S>(&self, stream: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite,
    {
        let mut transport = Transport::new(stream, self.host_key.clone()).await?;
        let served = match auth::authenticate(&mut transport, self).await {
            Ok(Some(user)) => {
                let (mut connection, events) = Connection::new(&mut transport, user, self);
                connection.run(events).await
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = &served {
            transport.disconnect(error).await;
        }
        served
    }
}
