//! Authentication by a key (RFC 4252).

use std::io;

use signature::Verifier;
use ssh_key::{Algorithm, Signature};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Server;
use super::numbers::{
    SERVICE_ACCEPT, SERVICE_REQUEST, USERAUTH_FAILURE, USERAUTH_PK_OK, USERAUTH_REQUEST,
    USERAUTH_SUCCESS,
};
use super::transport::{KEY_ALGORITHM, Transport};
use super::wire::{Fields, Message, violation};
use crate::facts::{User, find_user, stand_in_shell};
use crate::rooted::Rooted;

const SERVICE: &str = "ssh-userauth";
const NEXT_SERVICE: &str = "ssh-connection";
const METHOD: &str = "publickey";
/// Number of requests that are answered. A client has several keys, but not this many.
const ATTEMPTS: usize = 64;

/// Waits until the client has proved to have the key, and names a user of the guest. Returns `None` if it
/// goes instead.
pub(super) async fn authenticate<S: AsyncRead + AsyncWrite>(
    transport: &mut Transport<S>,
    server: &Server,
) -> io::Result<Option<User>> {
    for _ in 0..ATTEMPTS {
        let Some(message) = transport.next().await? else {
            return Ok(None);
        };
        let mut fields = Fields::new(&message);
        let answer = match fields.byte()? {
            SERVICE_REQUEST if fields.text()? == SERVICE => {
                Message::new(SERVICE_ACCEPT).bytes(SERVICE)
            }
            USERAUTH_REQUEST => match attempt(fields, transport.session_id(), server)? {
                Answer::Accepted(user) => {
                    transport.output.push(&[USERAUTH_SUCCESS]);
                    return Ok(Some(user));
                }
                Answer::Usable(message) => message,
                Answer::Refused => Message::new(USERAUTH_FAILURE).bytes(METHOD).flag(false),
            },
            _ => return Err(violation("the client has to authenticate first")),
        };
        transport.output.push(&answer.into_bytes());
    }
    Err(violation("too many authentication failures"))
}

enum Answer {
    Accepted(User),
    /// The client may sign with this key.
    Usable(Message),
    Refused,
}

/// Finds a user, whom another shell lets in if their own does not.
fn user(server: &Server, name: &str) -> io::Result<Option<User>> {
    let root = Rooted::new(&server.root)?;
    let Some(user) = find_user(&root, name)? else {
        return Ok(None);
    };
    let shell = match user.shell {
        None => stand_in_shell(&root)?,
        own => own,
    };
    Ok(Some(User { shell, ..user }))
}

fn attempt(mut fields: Fields<'_>, session_id: &[u8], server: &Server) -> io::Result<Answer> {
    let name = fields.text()?;
    let service = fields.text()?;
    if service != NEXT_SERVICE || fields.text()? != METHOD {
        return Ok(Answer::Refused);
    }
    let signed = fields.flag()?;
    let (algorithm, blob) = (fields.text()?, fields.bytes()?);
    let key = &server.authorized;
    let known = key.to_bytes().is_ok_and(|known| known == blob);
    if !known || algorithm != KEY_ALGORITHM {
        return Ok(Answer::Refused);
    }
    let Some(user) = user(server, name)? else {
        return Ok(Answer::Refused);
    };
    if !signed {
        let usable = Message::new(USERAUTH_PK_OK).bytes(algorithm).bytes(blob);
        return Ok(Answer::Usable(usable));
    }
    let signed = Message::default()
        .bytes(session_id)
        .byte(USERAUTH_REQUEST)
        .bytes(name)
        .bytes(service)
        .bytes(METHOD)
        .flag(true)
        .bytes(algorithm)
        .bytes(blob)
        .into_bytes();
    let mut signature = Fields::new(fields.bytes()?);
    let named = signature.text()?;
    let valid = Signature::new(Algorithm::Ed25519, signature.bytes()?)
        .is_ok_and(|signature| key.key_data().verify(&signed, &signature).is_ok());
    Ok(if named == KEY_ALGORITHM && valid {
        Answer::Accepted(user)
    } else {
        Answer::Refused
    })
}
