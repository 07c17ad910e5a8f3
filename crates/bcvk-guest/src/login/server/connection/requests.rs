//! Requests of the client: about the connection, and about sessions.

use std::io;
use std::process::ExitStatus;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use super::channels::{Channel, Role};
use super::{Connection, Forward};
use crate::login::server::channel::Origin;
use crate::login::server::forward::{Listening, LocalSocket};
use crate::login::server::numbers::{
    CHANNEL_EOF, CHANNEL_FAILURE, CHANNEL_REQUEST, CHANNEL_SUCCESS, REQUEST_FAILURE,
    REQUEST_SUCCESS,
};
use crate::login::server::session::{Context, Work, exit_message};
use crate::login::server::wire::{Fields, Message};

/// Most sockets of the guest that listen for a client.
const MAX_FORWARDS: usize = 1000;

impl<S: AsyncRead + AsyncWrite> Connection<'_, S> {
    pub(super) async fn global_request(&mut self, mut fields: Fields<'_>) -> io::Result<()> {
        let name = fields.text()?;
        let wants_reply = fields.flag()?;
        let mut success = Message::new(REQUEST_SUCCESS);
        let is_full = self.forwards.len() >= MAX_FORWARDS;
        let done = match name {
            "tcpip-forward" | "streamlocal-forward@openssh.com" if is_full => false,
            "tcpip-forward" => {
                let (address, port) = (fields.text()?.to_owned(), fields.number()?);
                match self.listen(address, port).await {
                    Ok(bound) if port == 0 => {
                        success = success.number(bound.into());
                        true
                    }
                    bound => bound.is_ok(),
                }
            }
            "cancel-tcpip-forward" => {
                let forward = Forward::Tcp(fields.text()?.to_owned(), fields.number()?);
                self.forwards.remove(&forward).is_some()
            }
            "streamlocal-forward@openssh.com" => self.listen_locally(fields.text()?).is_ok(),
            "cancel-streamlocal-forward@openssh.com" => {
                let forward = Forward::Unix(fields.text()?.to_owned());
                self.forwards.remove(&forward).is_some()
            }
            // A client asks this only to be answered.
            "keepalive@openssh.com" => true,
            _ => false,
        };
        if wants_reply {
            self.send(if done {
                success
            } else {
                Message::new(REQUEST_FAILURE)
            });
        }
        Ok(())
    }

    /// Listens for the client, and returns the port.
    async fn listen(&mut self, address: String, port: u32) -> io::Result<u16> {
        let port = u16::try_from(port).map_err(io::Error::other)?;
        let listening = Listening::bind(port).await?;
        let port = listening.port;
        let forward = Forward::Tcp(address.clone(), port.into());
        let mut tasks = JoinSet::new();
        tasks.spawn(listening.accept(address, self.events.clone()));
        self.forwards.insert(forward, tasks);
        Ok(port)
    }

    fn listen_locally(&mut self, path: &str) -> io::Result<()> {
        let socket = LocalSocket::bind(path.as_ref(), &self.user)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(socket.accept(Origin::Unix(path.to_owned()), self.events.clone()));
        self.forwards.insert(Forward::Unix(path.to_owned()), tasks);
        Ok(())
    }

    pub(super) fn channel_request(&mut self, mut fields: Fields<'_>) -> io::Result<()> {
        let channel = fields.number()?;
        let name = fields.text()?;
        let wants_reply = fields.flag()?;
        let done = self.session_request(channel, name, fields)?;
        // A session may have ended meanwhile, and its channel with it.
        let is_open = self.channels.get(&channel).is_some_and(Channel::is_open);
        if wants_reply && is_open {
            self.tell(
                channel,
                if done {
                    CHANNEL_SUCCESS
                } else {
                    CHANNEL_FAILURE
                },
            );
        }
        Ok(())
    }

    /// Carries out a request, and returns false if it cannot be.
    fn session_request(
        &mut self,
        number: u32,
        name: &str,
        mut fields: Fields<'_>,
    ) -> io::Result<bool> {
        let events = self.events.clone();
        let context = Context {
            root: &self.server.root,
            user: &self.user,
            environment: &self.server.environment,
            launcher: &self.server.launcher,
        };
        let Some(channel) = self.channels.get_mut(&number) else {
            return Ok(false);
        };
        let Role::Session(session, ends) = &mut channel.role else {
            return Ok(false);
        };
        let work = match name {
            "shell" => Work::Shell,
            "exec" => Work::Command(fields.bytes()?.to_vec()),
            "subsystem" if fields.text()? == "sftp" => Work::Sftp,
            "auth-agent-req@openssh.com" => {
                let agent = session.forward_agent(&self.user, events);
                return Ok(agent.map(|agent| channel.tasks.spawn(agent)).is_ok());
            }
            _ => return session.request(name, fields),
        };
        let Some((source, sink)) = ends.take() else {
            return Ok(false);
        };
        match session.start(work, &context, source, sink) {
            Ok(task) => {
                channel.tasks.spawn(task);
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    /// Tells how a session's process has ended, and closes the channel.
    pub(super) fn exited(&mut self, channel: u32, status: ExitStatus) {
        self.tell(channel, CHANNEL_EOF);
        if let Some(found) = self.channels.get(&channel) {
            let message = Message::new(CHANNEL_REQUEST).number(found.remote);
            self.send(exit_message(message, status));
        }
        self.close(channel);
    }
}
