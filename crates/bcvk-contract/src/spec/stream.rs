//! Output of a guest, and where the user wants it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::is_name_byte;
use super::{CONTAINER_SERIAL, SpecError};
use crate::choice;
use crate::guest_port::NAME_PREFIX;

/// Greatest number of virtio-serial ports that a user can have: a device has 31 (QEMU,
/// hw/char/virtio-serial-bus.c), and bcvk keeps some.
const MAX_SERIAL_PORTS: usize = 16;

/// One of the two streams that every guest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// The serial console: the kernel's messages and systemd's.
    #[default]
    Console,
    /// The journal.
    Journal,
}

choice!(Stream, "a stream of a VM's", { Console: "console", Journal: "journal" });

/// Streams to keep and the directory to keep them in: `STREAMS=DIR`, where STREAMS is a list with
/// commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir {
    /// Streams that are kept, each once.
    pub streams: Vec<Stream>,
    /// The directory, as given.
    pub dir: PathBuf,
}

impl FromStr for LogDir {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let syntax = || SpecError::LogDirSyntax {
            value: value.to_owned(),
        };
        let (names, dir) = value.split_once('=').ok_or_else(syntax)?;
        if dir.is_empty() || dir.contains('\0') {
            return Err(syntax());
        }
        let mut streams = names
            .split(',')
            .map(|name| name.trim().parse())
            .collect::<Result<Vec<Stream>, _>>()?;
        streams.sort_unstable();
        streams.dedup();
        Ok(Self {
            streams,
            dir: dir.into(),
        })
    }
}

/// Where streams are kept on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KeptLogs {
    /// Streams that are kept.
    pub streams: Vec<Stream>,
    /// The directory on the host.
    pub host: PathBuf,
}

impl KeptLogs {
    /// Returns true if `stream` is kept.
    #[must_use]
    pub fn keeps(&self, stream: Stream) -> bool {
        self.streams.contains(&stream)
    }
}

/// A virtio-serial port whose output goes to a file: `NAME:FILE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SerialPort {
    /// Its name: the guest finds it at `/dev/virtio-ports/NAME`.
    pub name: String,
    /// The file on the host.
    pub host: PathBuf,
}

impl SerialPort {
    /// Returns the path of the file in the container.
    #[must_use]
    pub fn container_path(&self) -> PathBuf {
        Path::new(CONTAINER_SERIAL).join(&self.name)
    }
}

impl FromStr for SerialPort {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let syntax = || SpecError::SerialPortSyntax {
            value: value.to_owned(),
        };
        let (name, file) = value.split_once(':').ok_or_else(syntax)?;
        let named = !name.is_empty() && name.len() <= 64 && name.bytes().all(is_name_byte);
        if !named || name.starts_with('.') || file.is_empty() || file.contains('\0') {
            return Err(syntax());
        }
        if name.starts_with(NAME_PREFIX) {
            return Err(SpecError::SerialPortReserved {
                name: name.to_owned(),
            });
        }
        Ok(Self {
            name: name.to_owned(),
            host: file.into(),
        })
    }
}

/// Checks that every port has a name of its own, and that there are not too many.
///
/// # Errors
/// [`SpecError::SerialPortClash`] or [`SpecError::TooManySerialPorts`].
pub fn check_serial_ports(ports: &[SerialPort]) -> Result<(), SpecError> {
    if ports.len() > MAX_SERIAL_PORTS {
        return Err(SpecError::TooManySerialPorts {
            given: ports.len(),
            most: MAX_SERIAL_PORTS,
        });
    }
    for (i, port) in ports.iter().enumerate() {
        if ports[..i].iter().any(|other| other.name == port.name) {
            return Err(SpecError::SerialPortClash {
                name: port.name.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_directories() {
        for (value, streams, dir) in [
            ("journal=/logs", &[Stream::Journal][..], "/logs"),
            ("console=logs/", &[Stream::Console], "logs/"),
            (
                "journal,console=/a=b",
                &[Stream::Console, Stream::Journal],
                "/a=b",
            ),
            ("journal, journal=x", &[Stream::Journal], "x"),
        ] {
            let log: LogDir = value.parse().expect(value);
            assert_eq!(log.streams, streams, "{value}");
            assert_eq!(log.dir, Path::new(dir), "{value}");
        }
        for value in ["", "journal", "/logs", "=/logs", "journal=", "syslog=/logs"] {
            assert!(value.parse::<LogDir>().is_err(), "{value}");
        }
    }

    #[test]
    fn serial_ports() {
        let port: SerialPort = "my.port:/a:b".parse().expect("a port");
        assert_eq!(port.name, "my.port");
        assert_eq!(port.host, Path::new("/a:b"));
        for value in [
            "",
            "name",
            "name:",
            ":file",
            "a b:file",
            "..:file",
            "org.bcvk.control:f",
        ] {
            assert!(value.parse::<SerialPort>().is_err(), "{value}");
        }
        let clash = check_serial_ports(&[port.clone(), port]);
        assert!(matches!(clash, Err(SpecError::SerialPortClash { .. })));
    }
}
