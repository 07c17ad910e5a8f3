//! The wait for the host before the image is mounted, in a guest that is saved at that moment.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use bcvk_contract::control::Message;
use bcvk_contract::guest_port;
use bcvk_contract::missing::if_exists;

use super::DIR;
use super::error::EarlyError;
use crate::port::{self, tell};
use crate::resumed::{Renewal, await_order};

/// Name of the file that says that the guest waits, under [`DIR`].
pub(crate) const WAITS: &str = "waits";

/// File of a machine ID that lasts until the next boot.
const MACHINE_ID: &str = "/run/machine-id";

/// Tells the host that the image is about to be mounted and waits until that may be, if this guest is
/// one that does. It may be resumed here many times, as one VM after the other.
pub(super) fn await_host() -> Result<(), EarlyError> {
    if !Path::new(DIR).join(WAITS).exists() {
        return Ok(());
    }
    let cannot = |e| EarlyError::new("wait for the host", e);
    let port = port::open(guest_port::AGENT).map_err(cannot)?;
    tell(&Message::Unmounted);
    listen(&port)
        .and_then(|it| it.take())
        .and_then(|()| forget_identity(Path::new(MACHINE_ID)))
        .map_err(cannot)
}

/// Forgets the machine ID that the initramfs's systemd may have made up and that the image's would take
/// over (systemd, src/shared/machine-id-setup.c): it is the same in all that are resumed here.
fn forget_identity(path: &Path) -> io::Result<()> {
    if_exists(fs::remove_file(path)).map(drop)
}

/// Waits until the host says how to go on.
fn listen(port: &File) -> io::Result<Renewal> {
    Ok(serde_json::from_str(&await_order(port)?)?)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::resumed::{HELLO, HERE};

    #[test]
    fn a_guest_waits_for_as_many_hosts_as_speak_until_one_lets_it_go_on() {
        let (host, guest) = UnixStream::pair().expect("a pair");
        let go_on = Renewal::new(7, &[1; 64]);
        let text = serde_json::to_string(&go_on).expect("JSON");
        write!(&host, "{HELLO}\n{HELLO}\n{text}\n").expect("written");
        let port = File::from(OwnedFd::from(guest));
        assert_eq!(listen(&port).expect("told"), go_on);
        let mut heard = BufReader::new(&host).lines().map_while(Result::ok);
        assert_eq!(
            [heard.next(), heard.next()],
            [(); 2].map(|()| Some(HERE.to_owned()))
        );

        let dir = tempfile::tempdir().expect("a directory");
        let id = dir.path().join("machine-id");
        fs::write(&id, "the same for all").expect("written");
        for _ in 0..2 {
            forget_identity(&id).expect("forgotten");
            assert!(!id.exists());
        }

        writeln!(&host, "{{\"clock\":1}}").expect("written");
        assert!(listen(&port).is_err(), "it is not all that it needs");
    }
}
