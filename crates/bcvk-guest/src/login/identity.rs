//! The keys and variables of one VM, for whoever serves its sessions.

use std::fs;
use std::io;
use std::path::Path;

use bcvk_contract::spec::{EnvVar, SshAccess, VmSpec};
use serde::{Deserialize, Serialize};

/// Directory of the login's files under `/run`.
pub(crate) const DIR: &str = "bcvk/login";

/// File of the [`Identity`] under `/run`, which only root reads.
pub(crate) const FILE: &str = "bcvk/login/identity.json";

/// Keys and variables of one VM. They are read anew for each conversation with a supervisor, because
/// a guest that was saved has those of no VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// The host key, in OpenSSH's private key format.
    pub(crate) host_key: String,
    /// The user's public key, as a line of `authorized_keys`.
    pub(crate) authorized_key: String,
    /// Variables of each session.
    pub(crate) environment: Vec<EnvVar>,
}

impl Identity {
    /// Returns the identity of a VM that its user can log in to.
    pub(crate) fn of(spec: &VmSpec, ssh: &SshAccess) -> Self {
        Self {
            host_key: spec.host_key.clone(),
            authorized_key: ssh.authorized_key.clone(),
            environment: spec.env.clone(),
        }
    }

    /// Returns the text of its file.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("texts only")
    }

    pub(super) fn read(run: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(run.join(FILE))?)?)
    }
}
