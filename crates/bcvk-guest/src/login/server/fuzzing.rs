//! Fuzzing of the SSH server. See [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::future::Future;
use std::sync::LazyLock;

use bcvk_contract::key_pair::KeyPair;
use bcvk_contract::spec::EnvVar;
use tokio::io::{Empty, Join, Sink, empty, join, sink};

use super::connection::Connection;
use super::session::Launcher;
use super::transport::Transport;
use super::{Identity, Server};
use crate::facts::User;

/// Most messages of one input. All of them are carried out before any task gets its turn: no connection
/// leaves the machine.
const MAX_MESSAGES: usize = 40;

static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate("fuzzing").expect("a key"));

/// The stream of a client who says nothing more.
pub(super) type Gone = Join<Empty, Sink>;

/// Returns a server that starts no processes.
pub(super) fn server(host: &KeyPair, user: &str, environment: Vec<EnvVar>) -> Server {
    let identity = Identity {
        host_key: host.private().to_owned(),
        authorized_key: user.to_owned(),
        environment,
    };
    Server {
        root: "/nonexistent".into(),
        launcher: Launcher {
            program: "/nonexistent".into(),
            arguments: Vec::new(),
        },
        ..Server::new(&identity).expect("keys")
    }
}

/// Runs `test` with the connection of a client who has logged in as root.
pub(super) fn with_connection(test: &impl AsyncFn(&mut Connection<'_, Gone>)) {
    block_on(async {
        let server = server(&KEY, KEY.public(), Vec::new());
        let gone = join(empty(), sink());
        let mut transport = Transport::unencrypted(gone, server.host_key.clone());
        let root = User {
            name: "root".to_owned(),
            uid: 0,
            gid: 0,
            groups: vec![0],
            home: "/".into(),
            shell: None,
        };
        let (mut connection, _events) = Connection::new(&mut transport, root, &server);
        test(&mut connection).await;
    });
}

/// Serves a client who has no key yet: its version, packets without encryption, and key exchange.
pub fn ssh_stream(data: &[u8]) {
    let server = server(&KEY, KEY.public(), Vec::new());
    block_on(async {
        // It is an error, unless the client goes after the exchange.
        let end = server.serve(join(data, sink())).await;
        assert!(end.is_err() || data.starts_with(b"SSH-2.0-"));
    });
}

/// Carries out messages of a client who has logged in, each with its length in two bytes before it.
pub fn ssh_messages(data: &[u8]) {
    with_connection(&async |connection| {
        let mut rest = data;
        for _ in 0..MAX_MESSAGES {
            let Some((length, more)) = rest.split_first_chunk() else {
                return;
            };
            let length = usize::from(u16::from_be_bytes(*length)).min(more.len());
            let (message, more) = more.split_at(length);
            rest = more;
            if connection.receive(message).await.is_err() {
                return;
            }
        }
    });
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future);
}
