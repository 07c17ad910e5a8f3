//! Sockets of the guest whose connections are carried through channels (RFC 4254, section 7; OpenSSH,
//! PROTOCOL, section 2.4).

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::process::Command;
use tokio::sync::mpsc;

use super::channel::{Event, Origin, Peer, Sink, Source, Stream};
use crate::facts::User;

/// A socket of the guest that the client can have connected to.
pub(super) enum Target {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Target {
    pub(super) async fn connect(&self) -> io::Result<Peer> {
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tcp { host, port } => {
                let mut failed = io::Error::from(io::ErrorKind::NotFound);
                for address in resolve(host).await? {
                    match TcpStream::connect((address, *port)).await {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            return Ok(Box::new(stream));
                        }
                        Err(error) => failed = error,
                    }
                }
                Err(failed)
            }
        }
    }
}

/// Finds the addresses of a name. The guest's getent(1) asks its name service: this program is static
/// and cannot load the modules of it.
async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if host == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let output = Command::new("getent")
        .args(["ahosts", "--", host])
        .kill_on_drop(true)
        .output()
        .await?;
    let mut addresses: Vec<IpAddr> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    addresses.dedup();
    if addresses.is_empty() {
        let error = format!("the guest finds no address of {host}");
        return Err(io::Error::new(io::ErrorKind::NotFound, error));
    }
    Ok(addresses)
}

/// Carries a connection through a channel, in both directions until both have ended. If the client closes
/// the channel, the data that it has sent before are still written.
pub(super) async fn carry(peer: Peer, mut source: Source, sink: Sink) {
    let (reader, writer) = tokio::io::split(peer);
    let channel = sink.channel;
    let to_client = async {
        sink.carry(reader, Stream::Output).await?;
        sink.tell(Event::Eof { channel }).await
    };
    let to_client = async {
        tokio::select! {
            // Nobody is told of an error: the connection, and this task with it, has ended.
            _ = to_client => {}
            () = sink.closed.notified() => {}
        }
    };
    tokio::join!(to_client, source.feed(writer));
    let _ = sink.tell(Event::Ended { channel }).await;
}

/// Listening sockets for one request of the client.
pub(super) struct Listening {
    pub(super) port: u16,
    sockets: Vec<TcpListener>,
}

impl Listening {
    /// Listens on the loopback addresses, whichever the client names, as OpenSSH's server does by default
    /// (`GatewayPorts no`). Port 0 is any that is free.
    pub(super) async fn bind(port: u16) -> io::Result<Self> {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = first.local_addr()?.port();
        let mut sockets = vec![first];
        // A guest may be without IPv6.
        sockets.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok());
        Ok(Self { port, sockets })
    }

    /// Accepts connections for the address that the client named.
    pub(super) async fn accept(self, address: String, events: mpsc::Sender<Event>) {
        let Self { port, mut sockets } = self;
        let last = sockets.pop();
        let first = sockets.pop();
        let accept = async |socket: Option<TcpListener>| {
            let Some(socket) = socket else { return };
            while let Ok((stream, peer)) = socket.accept().await {
                let _ = stream.set_nodelay(true);
                let event = Event::Accepted {
                    origin: Origin::Tcp {
                        address: address.clone(),
                        port,
                        peer,
                    },
                    peer: Box::new(stream),
                };
                if events.send(event).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(accept(last), accept(first));
    }
}

/// A listening socket in the file system, which goes with this value.
pub(super) struct LocalSocket {
    path: PathBuf,
    socket: UnixListener,
}

impl LocalSocket {
    /// Listens at a path that is not there yet, for a user alone.
    pub(super) fn bind(path: &Path, user: &User) -> io::Result<Self> {
        let socket = Self {
            socket: UnixListener::bind(path)?,
            path: path.to_owned(),
        };
        chown(path, Some(user.uid), Some(user.gid))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(socket)
    }

    pub(super) async fn accept(self, origin: Origin, events: mpsc::Sender<Event>) {
        while let Ok((stream, _)) = self.socket.accept().await {
            let event = Event::Accepted {
                origin: origin.clone(),
                peer: Box::new(stream),
            };
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // Somebody in the guest may have removed it already.
        let _ = fs::remove_file(&self.path);
    }
}
