//! The agent of a VM that can be saved: it gives the guest what only one VM has.
//!
//! A guest is saved while the agent waits for its host to speak. What the host says then makes the
//! VM this one and no other: its clock, its names, the key of its user, what is plugged into it,
//! its host key, its variables and units. None of that is in the snapshot. The kernel renews its
//! randomness by itself (`vmgenid`), and is given some of the host's.

mod sshd;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::guest_port;
use bcvk_contract::missing::if_exists;
use bcvk_contract::spec::{MachineId, UnitContent, UnitFile, guest_disk};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use serde::{Deserialize, Serialize};

use crate::port;
pub use crate::resumed::{HELLO, HERE, Renewal};
use crate::resumed::{add_entropy, await_order, set_clock};
use crate::services::{command, ended, systemctl};

/// Answer of the agent once the guest has its names and keys, so that sessions can begin.
pub const KNOWN: &str = "known";
/// Answer of the agent when everything has been done.
pub const DONE: &str = "done";
/// Beginning of the agent's answer when something could not be done; the rest says what.
pub const FAILED: &str = "failed ";

/// Limit for a device that was plugged in to be seen.
const PLUGGED: Duration = Duration::from_secs(30);

/// Pause between two looks at it.
const PAUSE: Duration = Duration::from_millis(2);

/// File that says that the guest is a VM. After a soft-reboot, nobody tells the agent anything.
const PERSONAL: &str = "/run/bcvk/personal";

/// Directory of units that are not the image's.
const UNITS: &str = "/run/systemd/system";

/// Everything that makes a resumed guest this VM and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Personal {
    /// Nanoseconds since the Unix epoch.
    pub clock: u64,
    /// Random bytes in Base64, for the kernel.
    pub entropy: String,
    /// Host name, if the guest is to have that of the VM.
    pub hostname: Option<String>,
    /// Machine ID, if the guest is to have another than it was saved with.
    pub machine_id: Option<MachineId>,
    /// SSH host key, if the guest is to have another than it was saved with.
    pub host_key: Option<NewHostKey>,
    /// Directories, relative to the root, of which the guest remembers what they were like in another
    /// image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aged: Vec<PathBuf>,
    /// Files with texts that only this VM has.
    pub files: Vec<PersonalFile>,
    /// Lines that are added to `/etc/environment`.
    pub environment: String,
    /// Assignments for the environment of services that systemd starts from now on.
    pub manager_environment: Vec<String>,
    /// Units that are added under `/run/systemd/system`.
    pub units: Vec<UnitFile>,
    /// Units that are added there too, and that systemd reads only when it starts anew (soft-reboot):
    /// those of the shares, which it would otherwise not mount again.
    pub kept: Vec<UnitFile>,
    /// Units that a boot would have started because of those.
    pub wanted: Vec<String>,
    /// Shares that the guest mounts.
    pub mounts: Vec<Mount>,
    /// Serial numbers of the guest's disks.
    pub disks: Vec<String>,
    /// Unit that is started once all of that is there.
    pub start: Option<String>,
}

/// A file that only root may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonalFile {
    /// Absolute path in the guest.
    pub path: PathBuf,
    /// The whole content.
    pub text: String,
}

/// An SSH host key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewHostKey {
    /// Service that has to read it.
    pub service: String,
    /// The private key, in OpenSSH's format.
    pub text: String,
    /// Port on which somebody is about to log in.
    pub awaited: Option<u16>,
}

/// A share and where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The virtiofs tag.
    pub tag: String,
    /// Absolute path of the mount point.
    pub on: PathBuf,
    /// True if the guest must not write.
    pub read_only: bool,
}

/// Does what the host says, once: a guest becomes one VM, and never another. The host closes its
/// end then, and a closed port does not block its reader, who would keep the guest busy.
///
/// # Errors
/// If the port cannot be used.
pub fn serve() -> io::Result<()> {
    let port = port::open(guest_port::AGENT)?;
    let order = await_order(&port)?;
    let known = || writeln!(&port, "{KNOWN}");
    let obeyed = obey(&order, known).and_then(|()| {
        fs::write(PERSONAL, "").map_err(|e| format!("cannot write {PERSONAL}: {e}"))
    });
    match obeyed {
        Ok(()) => writeln!(&port, "{DONE}"),
        Err(what) => writeln!(&port, "{FAILED}{what}"),
    }
}

fn obey(text: &str, known: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    let personal: Personal =
        serde_json::from_str(text).map_err(|e| format!("cannot read what the host says: {e}"))?;
    set_clock(personal.clock).map_err(|e| format!("cannot set the clock: {e}"))?;
    add_entropy(&personal.entropy).map_err(|e| format!("cannot add randomness: {e}"))?;
    personal.aged.iter().for_each(|path| look_again(path));
    if let Some(name) = &personal.hostname {
        rustix::system::sethostname(name.as_bytes())
            .map_err(|e| format!("cannot set the host name: {e}"))?;
    }
    for file in &personal.files {
        write(file).map_err(|e| format!("cannot write {}: {e}", file.path.display()))?;
    }
    add_environment(&personal).map_err(|e| format!("cannot set the environment: {e}"))?;
    add_units(Path::new(UNITS), &personal.units)
        .map_err(|e| format!("cannot add the units: {e}"))?;
    let restarted = change_identity(&personal)?;
    known().map_err(|e| format!("cannot answer the host: {e}"))?;
    let deadline = Instant::now() + PLUGGED;
    await_file_systems(personal.mounts.len(), deadline)
        .map_err(|e| format!("the shares are not seen: {e}"))?;
    for share in &personal.mounts {
        mount_share(share, deadline)
            .map_err(|e| format!("cannot mount {}: {e}", share.on.display()))?;
    }
    write_units(Path::new(UNITS), &personal.kept)
        .map_err(|e| format!("cannot add the units of the shares: {e}"))?;
    for name in &personal.disks {
        await_disk(name, deadline).map_err(|e| format!("the disk {name} is not seen: {e}"))?;
    }
    if let Some(restarted) = restarted {
        ended(restarted).map_err(|e| format!("cannot restart services: {e}"))?;
    }
    if let Some(port) = personal.host_key.as_ref().and_then(|key| key.awaited) {
        sshd::await_listening(port, deadline)
            .map_err(|e| format!("its sshd does not listen: {e}"))?;
    }
    start(&personal)
}

/// Makes the kernel ask the file server anew for the attributes of a directory.
fn look_again(path: &Path) {
    // The directory may be out of sight, below a mount.
    let _ = statx(
        CWD,
        Path::new("/").join(path),
        AtFlags::STATX_FORCE_SYNC | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
        StatxFlags::BASIC_STATS,
    );
}

/// Gives the guest its machine ID and host key. Returns the command that restarts the services
/// which know the old ones, if there are any: nothing else has to wait for it.
fn change_identity(personal: &Personal) -> Result<Option<Child>, String> {
    let mut restart = Vec::new();
    if let Some(id) = &personal.machine_id {
        set_machine_id(Path::new("/"), id)
            .map_err(|e| format!("cannot set the machine ID: {e}"))?;
        // journald goes on writing where it has begun. The kernel keeps what it is sent meanwhile.
        restart.push("systemd-journald.service");
    }
    if let Some(key) = &personal.host_key {
        sshd::set_host_key(Path::new("/etc/ssh"), &key.text)
            .map_err(|e| format!("cannot set the host key: {e}"))?;
        restart.push(&key.service);
    }
    if restart.is_empty() {
        return Ok(None);
    }
    let restarted = command("systemctl", ["try-restart"].into_iter().chain(restart)).spawn();
    restarted
        .map(Some)
        .map_err(|e| format!("cannot run systemctl: {e}"))
}

/// Starts what the boot would have started. systemd itself reports what becomes of the user's units.
fn start(personal: &Personal) -> Result<(), String> {
    let no_block = ["start", "--no-block"].into_iter();
    if !personal.wanted.is_empty() {
        let wanted = personal.wanted.iter().map(String::as_str);
        let _ = systemctl(no_block.clone().chain(wanted));
    }
    match &personal.start {
        Some(unit) => {
            systemctl(no_block.chain([&**unit])).map_err(|e| format!("cannot start {unit}: {e}"))
        }
        None => Ok(()),
    }
}

/// Adds variables to the file that sessions read, and to systemd's own, which services get.
fn add_environment(personal: &Personal) -> io::Result<()> {
    if !personal.environment.is_empty() {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open("/etc/environment")?
            .write_all(personal.environment.as_bytes())?;
    }
    if personal.manager_environment.is_empty() {
        return Ok(());
    }
    let assignments = personal.manager_environment.iter().map(String::as_str);
    systemctl(["set-environment"].into_iter().chain(assignments))
}

fn add_units(dir: &Path, units: &[UnitFile]) -> io::Result<()> {
    if units.is_empty() {
        return Ok(());
    }
    write_units(dir, units)?;
    systemctl(["daemon-reload"])
}

fn write_units(dir: &Path, units: &[UnitFile]) -> io::Result<()> {
    for unit in units {
        let path = dir.join(&unit.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match &unit.content {
            UnitContent::File(text) => fs::write(path, text)?,
            UnitContent::Link(target) => symlink(target, path)?,
        }
    }
    Ok(())
}

/// Sets the machine ID. Readers of the journal look for it under the machine's ID, so what has been
/// written so far moves along.
fn set_machine_id(root: &Path, id: &MachineId) -> io::Result<()> {
    let path = root.join("etc/machine-id");
    let old = fs::read_to_string(&path)?;
    for journals in ["run/log/journal", "var/log/journal"] {
        let journals = root.join(journals);
        let _ = if_exists(fs::rename(
            journals.join(old.trim_end()),
            journals.join(id.as_str()),
        ))?;
    }
    // The file may be a mount of its own, which cannot be replaced.
    fs::write(path, format!("{id}\n"))
}

fn write(file: &PersonalFile) -> io::Result<()> {
    if let Some(dir) = file.path.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&file.path)?;
    opened.set_permissions(fs::Permissions::from_mode(0o600))?;
    opened.write_all(file.text.as_bytes())
}

/// Waits until the driver has this many file systems besides the root. The driver writes a line on
/// the console for each attempt to mount a file system that it does not have.
fn await_file_systems(shares: usize, deadline: Instant) -> io::Result<()> {
    let driver = Path::new("/sys/bus/virtio/drivers/virtiofs");
    until(deadline, || {
        let devices = fs::read_dir(driver)?.filter_map(Result::ok);
        let devices = devices.filter(|d| d.file_name().to_string_lossy().starts_with("virtio"));
        Ok(devices.count() > shares)
    })
}

fn mount_share(share: &Mount, deadline: Instant) -> io::Result<()> {
    /// Pause that is longer than the driver takes from a device's first sign to its tag.
    const AGAIN: Duration = Duration::from_millis(50);
    fs::create_dir_all(&share.on)?;
    let flags = if share.read_only {
        MountFlags::RDONLY
    } else {
        MountFlags::empty()
    };
    loop {
        match mount(&*share.tag, &*share.on, "virtiofs", flags, None) {
            // No device has this tag yet.
            Err(Errno::INVAL) if Instant::now() < deadline => thread::sleep(AGAIN),
            result => return Ok(result?),
        }
    }
}

/// Waits for a disk, which udev names after its serial number once it has looked at it.
fn await_disk(name: &str, deadline: Instant) -> io::Result<()> {
    let link = guest_disk(name);
    until(deadline, || Ok(link.exists()))
}

fn until(deadline: Instant, mut so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    while !so()? {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_reads_what_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a/b");
        fs::create_dir(dir.path().join("a")).expect("made");
        fs::write(&path, "something longer").expect("written");
        let file = PersonalFile {
            path: path.clone(),
            text: "key".to_owned(),
        };
        write(&file).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("text"), "key");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_journal_goes_with_the_machine_id() {
        let root = tempfile::tempdir().expect("a directory");
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("etc")).expect("made");
        fs::create_dir_all(at("run/log/journal/old")).expect("made");
        fs::write(at("run/log/journal/old/system.journal"), "entries").expect("written");
        fs::write(at("etc/machine-id"), "old\n").expect("written");
        let id = MachineId::random([7; 16]);
        set_machine_id(root.path(), &id).expect("set");
        let text = fs::read_to_string(at("etc/machine-id")).expect("text");
        assert_eq!(text, format!("{id}\n"));
        assert!(at(&format!("run/log/journal/{id}/system.journal")).exists());
    }

    #[test]
    fn a_guest_that_is_a_vm_starts_no_agent() {
        let unit = include_str!("../units/bcvk-agent.service");
        assert!(unit.contains(&format!("\nConditionPathExists=!{PERSONAL}\n")));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let error = obey("{\"clock\":1,\"format\":\"disk\"}", || Ok(())).expect_err("unknown");
        assert!(error.contains("what the host says"), "{error}");
    }
}
