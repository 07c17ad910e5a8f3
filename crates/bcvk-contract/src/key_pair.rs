//! Ed25519 keys in OpenSSH's formats.

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

/// A key pair made for one VM.
#[derive(Clone)]
pub struct KeyPair {
    private: String,
    public: String,
}

/// A key could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make an SSH key")]
pub struct KeyError(#[from] ssh_key::Error);

impl KeyPair {
    /// Makes a key from the kernel's randomness. `comment` ends up in `authorized_keys`.
    pub fn generate(comment: &str) -> Result<Self, KeyError> {
        let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
        key.set_comment(comment);
        Ok(Self {
            private: key.to_openssh(LineEnding::LF)?.to_string(),
            public: key.public_key().to_openssh()?,
        })
    }

    /// The private key, in OpenSSH's format (PROTOCOL.key in OpenSSH's source).
    #[must_use]
    pub fn private(&self) -> &str {
        &self.private
    }

    /// The public key as a line of `authorized_keys`.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ed25519_fresh_and_not_in_debug_output() {
        let one = KeyPair::generate("bcvk").expect("key");
        let two = KeyPair::generate("bcvk").expect("key");
        assert!(one.public().starts_with("ssh-ed25519 "));
        assert!(one.public().ends_with(" bcvk"));
        assert!(
            one.private()
                .starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n")
        );
        assert_ne!(one.public(), two.public());
        assert!(!format!("{one:?}").contains("PRIVATE"));
    }
}
