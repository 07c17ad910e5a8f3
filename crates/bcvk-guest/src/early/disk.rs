//! The disk of a guest's `/var`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::spec::VAR_NAME;
use rustix::mount::{MountFlags, mount};

use super::error::EarlyError;

/// Block devices by the kernel's names. A virtio disk's directory has a file with its serial number
/// (Linux, Documentation/ABI/testing/sysfs-block: `serial`).
const DEVICES: &str = "/sys/block";

/// Mounts the file system of the disk.
pub(super) fn mount_disk(on: &Path) -> Result<(), EarlyError> {
    let device = await_disk(VAR_NAME, Path::new(DEVICES))
        .map_err(|e| EarlyError::new("find the disk of /var", e))?;
    mount(&device, on, "ext4", MountFlags::empty(), c"noinit_itable")
        .map_err(|e| EarlyError::new("mount the disk of /var", e))
}

/// Waits for the disk, which is there a moment after its driver, and returns its device.
fn await_disk(serial: &str, devices: &Path) -> io::Result<PathBuf> {
    const PAUSE: Duration = Duration::from_millis(10);
    const LIMIT: Duration = Duration::from_secs(20);
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(name) = find(serial, devices)? {
            let device = Path::new("/dev").join(name);
            if device.exists() {
                return Ok(device);
            }
        }
        if Instant::now() > until {
            return Err(io::ErrorKind::NotFound.into());
        }
        thread::sleep(PAUSE);
    }
}

/// Returns the kernel's name of the disk with this serial number.
fn find(serial: &str, devices: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(devices)? {
        let entry = entry?;
        let found = fs::read_to_string(entry.path().join("serial"));
        if found.is_ok_and(|text| text.trim_end() == serial) {
            return Ok(Some(entry.file_name().into()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_found_by_its_serial_number() {
        let devices = tempfile::tempdir().expect("a directory");
        for (name, serial) in [
            ("vda", Some("data")),
            ("vdb", Some("bcvk-var\n")),
            ("sr0", None),
        ] {
            let device = devices.path().join(name);
            fs::create_dir(&device).expect("made");
            if let Some(serial) = serial {
                fs::write(device.join("serial"), serial).expect("written");
            }
        }
        let found = |serial| find(serial, devices.path()).expect("read");
        assert_eq!(found("bcvk-var"), Some("vdb".into()));
        assert_eq!(found("bcvk"), None);
    }
}
