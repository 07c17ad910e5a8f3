//! Negotiation and exchange of keys (RFC 4253, sections 7 and 8).

use std::io;

use sha2::{Digest, Sha256};
use signature::Signer;
use tokio::io::{AsyncRead, AsyncWrite};

use super::cipher::{KEY_MATERIAL, Keys};
use super::hybrid::{METHODS, Method};
use super::{Transport, VERSION, is_noise, random};
use crate::login::server::numbers::{KEX_ECDH_INIT, KEX_ECDH_REPLY, KEXINIT, NEWKEYS};
use crate::login::server::wire::{Fields, Message, violation};

/// Algorithm of the host key, and of clients' keys.
pub(in super::super) const KEY_ALGORITHM: &str = "ssh-ed25519";
const CIPHER: &str = "chacha20-poly1305@openssh.com";
/// The cipher authenticates by itself, but the client wants to find an authentication it knows.
const MACS: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-256";
const NO_COMPRESSION: &str = "none";

/// Extension against truncated handshakes (OpenSSH, PROTOCOL, section 1.10).
const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";
const STRICT_CLIENT: &str = "kex-strict-c-v00@openssh.com";

/// The client's choice.
struct Choice {
    method: Method,
    strict: bool,
    /// The client has sent a value for another method, which is not meant.
    wrong_guess: bool,
}

impl<S: AsyncRead + AsyncWrite> Transport<S> {
    pub(super) async fn first_exchange(&mut self) -> io::Result<()> {
        let ours = offer()?;
        self.output.push(&ours);
        self.output.flush().await?;
        let theirs = self.exchange_packet().await?;
        if theirs.first() != Some(&KEXINIT) {
            return Err(violation("the client does not begin with its algorithms"));
        }
        self.exchange(&ours, &theirs).await
    }

    /// Exchanges new keys because the client has asked for it with `theirs`.
    pub(in super::super) async fn exchange_again(&mut self, theirs: &[u8]) -> io::Result<()> {
        let ours = offer()?;
        self.output.push(&ours);
        self.exchange(&ours, theirs).await
    }

    async fn exchange(&mut self, ours: &[u8], theirs: &[u8]) -> io::Result<()> {
        let choice = choose(theirs)?;
        if self.session_id.is_empty() {
            self.strict = choice.strict;
        }
        self.output.flush().await?;
        if choice.wrong_guess {
            self.exchange_packet().await?;
        }
        let packet = self.exchange_packet().await?;
        let mut fields = Fields::new(&packet);
        if fields.byte()? != KEX_ECDH_INIT {
            return Err(violation("the client sends no public value"));
        }
        let client = fields.bytes()?;
        let agreed = choice.method.agree(client)?;
        let host_key = self.host_key.public_key().to_bytes();
        let host_key = host_key.map_err(io::Error::other)?;
        let hash = Sha256::digest(
            Message::default()
                .bytes(&self.client_version)
                .bytes(VERSION)
                .bytes(theirs)
                .bytes(ours)
                .bytes(&host_key)
                .bytes(client)
                .bytes(&agreed.answer)
                .raw(&agreed.secret)
                .into_bytes(),
        );
        let signature = self.host_key.try_sign(&hash).map_err(io::Error::other)?;
        let signature = Message::default()
            .bytes(KEY_ALGORITHM)
            .bytes(signature.as_bytes());
        let reply = Message::new(KEX_ECDH_REPLY)
            .bytes(&host_key)
            .bytes(&agreed.answer)
            .bytes(signature.into_bytes());
        self.output.push(&reply.into_bytes());
        self.output.push(&[NEWKEYS]);
        if self.session_id.is_empty() {
            self.session_id = hash.to_vec();
        }
        let keys = |direction| Keys::new(&key(&agreed.secret, &hash, direction, &self.session_id));
        self.output.set_keys(keys(b'D'), self.strict);
        let from_client = keys(b'C');
        self.output.flush().await?;
        if self.exchange_packet().await? != [NEWKEYS] {
            return Err(violation("the client takes no new keys into use"));
        }
        self.input.set_keys(from_client, self.strict);
        Ok(())
    }

    /// Returns the next packet. If handshakes are strict, none may stand between those of the first.
    async fn exchange_packet(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let packet = self.input.packet().await?;
            let packet = packet.ok_or(io::ErrorKind::UnexpectedEof)?;
            let first = self.session_id.is_empty();
            if !is_noise(&packet) || (first && self.strict) {
                return Ok(packet);
            }
        }
    }
}

/// Returns the algorithms of this server.
fn offer() -> io::Result<Vec<u8>> {
    let mut methods: Vec<_> = METHODS.iter().map(|(name, _)| *name).collect();
    methods.push(STRICT_SERVER);
    let mut message = Message::new(KEXINIT)
        .raw(&random::<16>()?)
        .bytes(methods.join(","))
        .bytes(KEY_ALGORITHM);
    for list in [CIPHER, MACS, NO_COMPRESSION] {
        message = message.bytes(list).bytes(list);
    }
    let languages = message.bytes("").bytes("");
    Ok(languages.flag(false).number(0).into_bytes())
}

/// Finds the first of the client's methods that is one of ours.
fn choose(theirs: &[u8]) -> io::Result<Choice> {
    let mut fields = Fields::new(theirs);
    fields.raw(17)?;
    let names = fields.text()?;
    let method = |name| METHODS.iter().find(|(known, _)| *known == name);
    let (chosen, method) = names.split(',').find_map(method).ok_or_else(|| {
        violation(&format!(
            "no key exchange method is one of the client's: {names}"
        ))
    })?;
    let mut host_keys_guess = "";
    for (index, wanted) in [
        KEY_ALGORITHM,
        CIPHER,
        CIPHER,
        MACS,
        MACS,
        NO_COMPRESSION,
        NO_COMPRESSION,
    ]
    .into_iter()
    .enumerate()
    {
        let offered = fields.text()?;
        if index == 0 {
            host_keys_guess = offered.split(',').next().unwrap_or_default();
        }
        let is_mac = wanted == MACS;
        if !is_mac && !offered.split(',').any(|name| name == wanted) {
            return Err(violation(&format!(
                "{wanted} is none of the client's: {offered}"
            )));
        }
    }
    fields.bytes()?;
    fields.bytes()?;
    let guessed = fields.flag()?;
    let right = names.split(',').next() == Some(chosen) && host_keys_guess == KEY_ALGORITHM;
    Ok(Choice {
        method: *method,
        strict: names.split(',').any(|name| name == STRICT_CLIENT),
        wrong_guess: guessed && !right,
    })
}

/// Returns the key of a direction (RFC 4253, section 7.2).
fn key(secret: &[u8], hash: &[u8], direction: u8, session_id: &[u8]) -> [u8; KEY_MATERIAL] {
    let start = Sha256::new().chain_update(secret).chain_update(hash);
    let first = start.clone().chain_update([direction]);
    let first = first.chain_update(session_id).finalize();
    let second = start.chain_update(first).finalize();
    let mut key = [0; KEY_MATERIAL];
    key[..32].copy_from_slice(&first);
    key[32..].copy_from_slice(&second);
    key
}
