//! SSH keys for the VM started by hand, sent as bcvk sends its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64ct::{Base64, Encoding};
use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::process::run;

use super::common::SHORT;

/// Key files in a directory of the bench's.
pub(super) struct Keys {
    /// Key that lets the bench in.
    pub(super) user: PathBuf,
    /// The SMBIOS type 11 string with both keys.
    pub(super) oem_string: PathBuf,
}

impl Keys {
    pub(super) fn make(dir: &Path) -> Result<Self> {
        let (user, host) = (dir.join("user_key"), dir.join("host_key"));
        for key in [&user, &host] {
            run(
                Command::new("ssh-keygen")
                    .args(["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f"])
                    .arg(key),
                SHORT,
            )?
            .success("make an SSH key")?;
        }
        let read = |path: &Path| fs::read(path).map_err(Error::io("read an SSH key"));
        let credential = credential(&read(&user.with_extension("pub"))?, &read(&host)?);
        let oem_string = dir.join("oem-string");
        fs::write(&oem_string, credential).map_err(Error::io("write the credential"))?;
        Ok(Self { user, oem_string })
    }
}

/// Makes a `tmpfiles.d(5)` snippet into the credential `tmpfiles.extra`
/// (`systemd.system-credentials(7)`). The host key is only used by images that ship none.
fn credential(authorized_key: &[u8], host_key: &[u8]) -> String {
    let snippet = format!(
        "d /root/.ssh 0700 root root -\n\
         f+~ /root/.ssh/authorized_keys 0600 root root - {}\n\
         f~ /etc/ssh/ssh_host_ed25519_key 0600 root root - {}\n",
        Base64::encode_string(authorized_key),
        Base64::encode_string(host_key),
    );
    format!(
        "io.systemd.credential.binary:tmpfiles.extra={}",
        Base64::encode_string(snippet.as_bytes())
    )
}
