//! Sessions that the image's own sshd serves, with nothing of the image's configuration.
//!
//! Whatever an image wants of strangers (its port, keys, users, algorithms, firewall) is not for its
//! user's way in. sshd runs once for each session, as inetd would run it, with a configuration, keys
//! and a PAM service of ours; so the session has the environment, limits and login session (logind)
//! that the image gives its users.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bcvk_contract::missing::if_exists;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::identity::{DIR, Identity};
use super::{is_program, relay};
use crate::facts::{SSHD_PROGRAMS, SSHD_SESSION_PROGRAMS};

/// Name under which sshd runs. Until version 9.8 it is also that of the PAM service.
pub(crate) const NAME: &str = "bcvk-sshd";

/// The PAM service. Neither the account's age nor a rule of the image's keeps the user out; the
/// modules of a session are those of every distribution, as far as the image has them.
pub(crate) const PAM: &str = "\
    auth required pam_permit.so\n\
    account required pam_permit.so\n\
    password required pam_permit.so\n\
    -session optional pam_loginuid.so\n\
    -session optional pam_keyinit.so force revoke\n\
    -session optional pam_limits.so\n\
    -session optional pam_env.so\n\
    -session optional pam_umask.so\n\
    -session optional pam_systemd.so\n";

/// Directory that sshd confines its unprivileged half to in Debian; its own service makes it, and
/// removes it when it stops.
const PRIVILEGE_SEPARATION: &str = "sshd";

/// The image's sshd, with its files of this VM.
#[derive(Debug, Clone)]
pub(super) struct ImageSshd {
    run: PathBuf,
    program: PathBuf,
}

impl ImageSshd {
    /// Finds sshd below `root`, unless the system is in FIPS mode, where it knows neither our host key
    /// nor the user's.
    pub(super) fn find(root: &Path) -> Option<PathBuf> {
        let below = |path: &str| root.join(path.trim_start_matches('/'));
        let fips = fs::read_to_string(below("/proc/sys/crypto/fips_enabled"));
        if fips.is_ok_and(|text| text.trim() == "1") {
            return None;
        }
        let found = SSHD_PROGRAMS.iter().find(|path| is_program(&below(path)));
        found.map(PathBuf::from)
    }

    /// Writes the files with which `program` serves the sessions of the VM of `identity`, under `run`.
    pub(super) fn new(program: PathBuf, run: &Path, identity: &Identity) -> io::Result<Self> {
        let dir = run.join(DIR);
        write(&dir.join("host_key"), 0o600, &identity.host_key)?;
        // sshd reads it with the rights of the user who logs in.
        write(
            &dir.join("authorized_keys"),
            0o644,
            &format!("{}\n", identity.authorized_key),
        )?;
        let is_split = SSHD_SESSION_PROGRAMS
            .iter()
            .any(|path| Path::new(path).exists());
        write(
            &dir.join("sshd_config"),
            0o600,
            &config(&dir, is_split, identity),
        )?;
        let link = dir.join(NAME);
        if_exists(fs::remove_file(&link))?;
        symlink(program, &link)?;
        Ok(Self {
            run: run.to_owned(),
            program: link,
        })
    }

    /// Starts sshd for one session. Returns `None` if it ends without a greeting: it has no use for the
    /// configuration, a user or library that it needs is missing, or its program is none.
    pub(super) async fn start(&self) -> io::Result<Option<Greeted>> {
        let separated = self.run.join(PRIVILEGE_SEPARATION);
        match DirBuilder::new().mode(0o755).create(separated) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let (ours, sshds) = UnixStream::pair()?;
        let sshds = sshds.into_std()?;
        sshds.set_nonblocking(false)?;
        let stdin = OwnedFd::from(sshds.try_clone()?);
        let spawned = Command::new(&self.program)
            .arg("-i")
            .arg("-f")
            .arg(self.run.join(DIR).join("sshd_config"))
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::from(OwnedFd::from(sshds)))
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut sshd) = spawned else {
            return Ok(None);
        };
        let mut stream = BufReader::new(ours);
        if !matches!(stream.fill_buf().await, Ok([_, ..])) {
            sshd.wait().await?;
            return Ok(None);
        }
        Ok(Some(Greeted { sshd, stream }))
    }
}

/// An sshd that has begun to speak.
#[derive(Debug)]
pub(super) struct Greeted {
    sshd: Child,
    stream: BufReader<UnixStream>,
}

impl Greeted {
    /// Serves the session.
    pub(super) async fn serve(
        mut self,
        client: impl AsyncRead + AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let relayed = relay(client, self.stream).await;
        self.sshd.wait().await?;
        relayed
    }
}

/// Adds the PAM service to those in `dir`. Only a root that somebody has changed to has none.
pub(super) fn add_pam_service(dir: &Path) -> io::Result<()> {
    let path = dir.join(NAME);
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    write(&path, 0o644, PAM)
}

/// Gives the client's name an address in `hosts` (hosts(5)). sshd calls whoever comes over a socket
/// without addresses so, and hands the name on to PAM. Where that is built with auditing, each step of
/// a login asks for the name's address, and waits for a name server that may never answer.
pub(super) fn name_the_client(hosts: &Path) -> io::Result<()> {
    const CLIENT: &str = "UNKNOWN";
    let text = if_exists(fs::read_to_string(hosts))?.unwrap_or_default();
    if text.split_whitespace().any(|word| word == CLIENT) {
        return Ok(());
    }
    let mut file = OpenOptions::new().append(true).create(true).open(hosts)?;
    writeln!(file, "\n127.0.0.1 {CLIENT} # the client of {NAME}")
}

/// Returns the configuration (sshd_config(5)). `is_split` is true for an sshd since 9.8, which no
/// longer takes the name of its PAM service from its own.
fn config(dir: &Path, is_split: bool, identity: &Identity) -> String {
    let dir = dir.display();
    let mut text = format!(
        "HostKey {dir}/host_key\n\
         AuthorizedKeysFile {dir}/authorized_keys\n\
         StrictModes no\n\
         PermitRootLogin prohibit-password\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         UsePAM yes\n\
         UseDNS no\n\
         LoginGraceTime 0\n\
         PidFile none\n\
         MaxSessions 1000\n\
         X11Forwarding yes\n\
         AcceptEnv LANG LC_* COLORTERM NO_COLOR\n\
         Subsystem sftp internal-sftp\n",
    );
    if is_split {
        let _ = writeln!(text, "PAMServiceName {NAME}");
    }
    let variables: Vec<String> = identity
        .environment
        .iter()
        .filter(|var| !var.value.contains(char::is_control))
        .map(|var| format!("\"{}\"", escaped(&var.to_string())))
        .collect();
    if !variables.is_empty() {
        let _ = writeln!(text, "SetEnv {}", variables.join(" "));
    }
    text
}

/// Escapes a word for quotes in sshd_config(5).
fn escaped(word: &str) -> String {
    word.replace('\\', "\\\\").replace('"', "\\\"")
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcvk_contract::spec::EnvVar;

    fn identity() -> Identity {
        let var = |name: &str, value: &str| EnvVar {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        Identity {
            host_key: "private".to_owned(),
            authorized_key: "ssh-ed25519 AAAA".to_owned(),
            environment: vec![
                var("A", "b \"c\" \\d $e"),
                var("LINES", "1\n2"),
                var("EMPTY", ""),
            ],
        }
    }

    #[test]
    fn nothing_of_the_images_configuration_is_left() {
        let dir = Path::new("/run/bcvk/login");
        insta::assert_snapshot!(config(dir, true, &identity()));
        let old = config(dir, false, &identity());
        assert!(!old.contains("PAMServiceName"), "unknown before 9.8");
    }

    #[test]
    fn the_client_has_a_name_once() {
        let etc = tempfile::tempdir().expect("a directory");
        let hosts = etc.path().join("hosts");
        fs::write(&hosts, "127.0.0.1 localhost").expect("written");
        for _ in 0..2 {
            name_the_client(&hosts).expect("written");
            let text = fs::read_to_string(&hosts).expect("text");
            let expected = "127.0.0.1 localhost\n127.0.0.1 UNKNOWN # the client of bcvk-sshd\n";
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn the_pam_service_is_that_of_the_root() {
        let etc = tempfile::tempdir().expect("a directory");
        let dir = etc.path().join("pam.d");
        for (found, left) in [(None, PAM), (Some("of somebody"), "of somebody")] {
            if let Some(text) = found {
                fs::write(dir.join(NAME), text).expect("written");
            }
            add_pam_service(&dir).expect("there");
            assert_eq!(fs::read_to_string(dir.join(NAME)).expect("text"), left);
        }
        let file = dir.join(NAME);
        assert!(add_pam_service(&file).is_err());
    }

    #[test]
    fn only_root_reads_the_host_key() {
        let run = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(run.path().join(DIR)).expect("made");
        let program = PathBuf::from("/usr/sbin/sshd");
        for _ in 0..2 {
            let sshd = ImageSshd::new(program.clone(), run.path(), &identity()).expect("made");
            assert_eq!(fs::read_link(&sshd.program).expect("a link"), program);
        }
        let mode = |name: &str| {
            let found = fs::metadata(run.path().join(DIR).join(name)).expect(name);
            found.permissions().mode() & 0o777
        };
        assert_eq!(
            ["host_key", "sshd_config", "authorized_keys"].map(mode),
            [0o600, 0o600, 0o644]
        );
    }

    #[test]
    fn an_sshd_that_knows_no_key_of_ours_is_not_used() {
        let root = tempfile::tempdir().expect("a directory");
        let path = |name: &str| root.path().join(name);
        for dir in ["usr/sbin", "proc/sys/crypto"] {
            fs::create_dir_all(path(dir)).expect("made");
        }
        assert_eq!(ImageSshd::find(root.path()), None, "there is no sshd");
        write(&path("usr/sbin/sshd"), 0o755, "").expect("made");
        let found = Some(PathBuf::from("/usr/sbin/sshd"));
        assert_eq!(ImageSshd::find(root.path()), found);
        fs::write(path("proc/sys/crypto/fips_enabled"), "1\n").expect("written");
        assert_eq!(ImageSshd::find(root.path()), None, "FIPS");
    }

    #[tokio::test]
    async fn an_sshd_that_cannot_serve_is_not_waited_for() {
        let run = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(run.path().join(DIR)).expect("made");
        for (text, greets) in [
            ("#!/bin/sh\nexit 255\n", false),
            ("no program", false),
            ("#!/bin/sh\necho SSH-2.0-x\n", true),
        ] {
            let program = run.path().join("sshd-of-the-image");
            write(&program, 0o755, text).expect("made");
            let sshd = ImageSshd::new(program, run.path(), &identity()).expect("made");
            let started = sshd.start().await.expect("tried");
            assert_eq!(started.is_some(), greets, "{text}");
        }
    }
}
