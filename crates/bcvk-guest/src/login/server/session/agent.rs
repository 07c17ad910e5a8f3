//! The socket by which a session reaches the client's agent.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::facts::User;
use crate::login::server::channel::{Event, Origin};
use crate::login::server::forward::LocalSocket;
use crate::login::server::transport::random;

/// A listening socket in a directory of its own, which goes with this value.
pub(super) struct AgentSocket {
    socket: LocalSocket,
    path: String,
    _dir: Dir,
}

/// A directory that goes with this value.
struct Dir(PathBuf);

impl AgentSocket {
    /// Makes a socket that nobody but `user` reaches.
    pub(super) fn bind(user: &User) -> io::Result<Self> {
        let name = format!("/tmp/ssh-{:016x}", u64::from_ne_bytes(random()?));
        DirBuilder::new().mode(0o700).create(&name)?;
        let dir = Dir(name.into());
        let path = dir.0.join("agent");
        let socket = LocalSocket::bind(&path, user)?;
        // Only now may the user change what is in the directory.
        chown(&dir.0, Some(user.uid), Some(user.gid))?;
        Ok(Self {
            socket,
            path: path.to_string_lossy().into_owned(),
            _dir: dir,
        })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Accepts connections of the session.
    pub(super) async fn accept(self, events: mpsc::Sender<Event>) {
        let Self { socket, _dir, .. } = self;
        socket.accept(Origin::Agent, events).await;
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // If the user has put something else into it, it stays, as all else that they leave.
        let _ = fs::remove_dir(&self.0);
    }
}
