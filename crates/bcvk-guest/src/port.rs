//! Virtio-serial ports to the host.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use bcvk_contract::control::Message;
use bcvk_contract::guest_port;

/// Tells the host `message`, over the control port. A guest that has no such port boots all the same.
pub fn tell(message: &Message) {
    if let Ok(mut port) = open(guest_port::CONTROL) {
        let _ = writeln!(port, "{message}");
    }
}

/// Opens a port for reading and writing, and waits for it if nothing has asked for its driver yet, or
/// if the driver has just been loaded.
pub(crate) fn open(number: u8) -> io::Result<File> {
    const PAUSE: Duration = Duration::from_millis(10);
    const TRIES: u32 = 200;
    let mut path = find(number);
    if path.is_none() {
        // Where there is no modprobe, the driver is loaded by its path or built in.
        let _ = Command::new("modprobe").arg("virtio_console").status();
    }
    for _ in 0..TRIES {
        path = path.or_else(|| find(number));
        let opened = path.as_ref().map(|path| {
            let mut options = File::options();
            options.read(true).write(true).open(path)
        });
        match opened {
            // One process at a time has a port: several tell the host something at the same moment.
            Some(Err(e)) if e.kind() == io::ErrorKind::ResourceBusy => {}
            Some(opened) => return opened,
            None => {}
        }
        thread::sleep(PAUSE);
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("there is no port {number}"),
    ))
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
