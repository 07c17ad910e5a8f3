//! Ports to the host, for a program. `units/port.sh` is the same for scripts.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use bcvk_contract::control::Message;
use bcvk_contract::guest_port;

/// Tells the host `message`, over the control port. The driver makes the port's file a moment after
/// it is loaded; a guest in which it does not come boots all the same.
pub(super) fn tell(message: &Message) {
    if let Some(mut port) = control() {
        let _ = writeln!(port, "{message}");
    }
}

fn control() -> Option<File> {
    let path = port_file(guest_port::CONTROL)?;
    OpenOptions::new().write(true).open(path).ok()
}

/// Returns the file of a port, and waits for it if the driver has just been loaded.
#[must_use]
pub fn port_file(number: u8) -> Option<PathBuf> {
    const PAUSE: Duration = Duration::from_millis(10);
    const TRIES: u32 = 200;
    for _ in 0..TRIES {
        if let Some(path) = find(number) {
            return Some(path);
        }
        thread::sleep(PAUSE);
    }
    None
}

/// Finds a port by the kernel's own name, which is there as soon as the driver is: udev's names for
/// ports come late in the boot and not at all in some initramfs. There is one virtio-serial device
/// only.
fn find(number: u8) -> Option<PathBuf> {
    let end = format!("p{number}");
    let mut names = fs::read_dir("/dev").ok()?.filter_map(Result::ok);
    names.find_map(|entry| {
        let name = entry.file_name();
        let name = name.to_str()?;
        (name.starts_with("vport") && name.ends_with(&end)).then(|| entry.path())
    })
}
