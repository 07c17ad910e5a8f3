//! The key exchange methods: X25519 (RFC 8731), alone or with ML-KEM
//! (draft-ietf-sshm-mlkem-hybrid-kex). OpenSSH 10.1 warns of a connection without the latter.

use std::io;

use curve25519_dalek::MontgomeryPoint;
use ml_kem::ml_kem_768::EncapsulationKey;
use sha2::{Digest, Sha256};

use super::random;
use crate::login::server::wire::{Message, violation};

/// A method of key exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Hybrid,
    X25519,
}

/// Names of the methods, the preferred one first.
pub(super) const METHODS: [(&str, Method); 3] = [
    ("mlkem768x25519-sha256", Method::Hybrid),
    ("curve25519-sha256", Method::X25519),
    ("curve25519-sha256@libssh.org", Method::X25519),
];

const POINT: usize = 32;

/// The server's answer, and the secret as the hash has it.
pub(super) struct Agreed {
    pub(super) answer: Vec<u8>,
    pub(super) secret: Vec<u8>,
}

impl Method {
    /// Answers the client's public value.
    pub(super) fn agree(self, client: &[u8]) -> io::Result<Agreed> {
        match self {
            Self::X25519 => {
                let (answer, secret) = x25519(client)?;
                Ok(Agreed {
                    answer: answer.to_vec(),
                    secret: Message::default().mpint(&secret).into_bytes(),
                })
            }
            Self::Hybrid => hybrid(client),
        }
    }
}

fn hybrid(client: &[u8]) -> io::Result<Agreed> {
    let Some((encapsulation, point)) = client
        .len()
        .checked_sub(POINT)
        .map(|middle| client.split_at(middle))
    else {
        return Err(violation("the client's public value is too short"));
    };
    let unusable = |_| violation("the client's ML-KEM key is unusable");
    let key = encapsulation
        .try_into()
        .map_err(|_| violation("the client's ML-KEM key has a wrong length"))?;
    let key = EncapsulationKey::new(key).map_err(unusable)?;
    let (ciphertext, quantum) = key.encapsulate_deterministic(&random::<32>()?.into());
    let (answer, classic) = x25519(point)?;
    let secret = Sha256::new()
        .chain_update(quantum)
        .chain_update(classic)
        .finalize();
    Ok(Agreed {
        answer: [ciphertext.as_slice(), &answer].concat(),
        secret: Message::default().bytes(secret).into_bytes(),
    })
}

/// Returns a public value and the secret that it makes with the client's.
fn x25519(client: &[u8]) -> io::Result<([u8; POINT], [u8; POINT])> {
    let client: [u8; POINT] = client
        .try_into()
        .map_err(|_| violation("the client's public value has a wrong length"))?;
    let private = random()?;
    let secret = MontgomeryPoint(client).mul_clamped(private).to_bytes();
    // RFC 8731, section 3: a secret of zeros ends the exchange.
    if secret == [0; POINT] {
        return Err(violation("the client's public value is a weak one"));
    }
    Ok((
        MontgomeryPoint::mul_base_clamped(private).to_bytes(),
        secret,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_public_values_are_refused() {
        for method in [Method::Hybrid, Method::X25519] {
            for length in [0, 31, 32, 33, 1184, 1216, 1217] {
                assert!(method.agree(&vec![0; length]).is_err(), "{length}");
            }
        }
        let point = MontgomeryPoint::mul_base_clamped([1; 32]).to_bytes();
        assert!(Method::X25519.agree(&point).is_ok());
    }
}
