//! States of a running machine, which QEMU keeps in a disk image and reads back into the same machine.

use std::io;
use std::ops::Range;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use qapi::Any;
use qapi::qmp::human_monitor_command;
use serde_json::json;

use super::super::args::STORE_SET;
use super::{Monitor, closed, lock};

/// Names of the image's file and of the image among QEMU's block nodes, and of all jobs.
const FILE: &str = "states-file";
const STORE: &str = "states";
const JOB: &str = "states";

/// Size of the disk that the image is said to be; nothing is written to that disk.
const DISK: u64 = 1 << 20;

/// Time for writing or reading a state: a megabyte or two, and all that file servers know.
const JOB_LIMIT: Duration = Duration::from_secs(60);

impl Monitor {
    /// Stops the guest.
    pub(crate) fn stop(&self) -> io::Result<()> {
        self.ask("stop", &json!({})).map(drop)
    }

    /// Makes the image that keeps states.
    pub(crate) fn make_store(&self) -> io::Result<()> {
        self.keep_shared_memory()?;
        let filename = format!("/dev/fdset/{STORE_SET}");
        self.ask(
            "blockdev-add",
            &json!({ "driver": "file", "node-name": FILE, "filename": filename }),
        )?;
        let options = json!({ "driver": "qcow2", "file": FILE, "size": DISK });
        self.job("blockdev-create", json!({ "options": options }))?;
        let store = json!({ "driver": "qcow2", "node-name": STORE, "file": FILE });
        self.ask("blockdev-add", &store).map(drop)
    }

    /// Saves the machine of a guest that stands still, without its memory.
    pub(crate) fn save_state(&self, tag: &str) -> io::Result<()> {
        let state = json!({ "tag": tag, "vmstate": STORE, "devices": [STORE] });
        self.job("snapshot-save", state)
    }

    /// Resets the machine of a guest that stands still, and gives it a state.
    pub(crate) fn load_state(&self, tag: &str) -> io::Result<()> {
        let state = json!({ "tag": tag, "vmstate": STORE, "devices": [STORE] });
        self.job("snapshot-load", state)
    }

    /// Removes a state.
    pub(crate) fn delete_state(&self, tag: &str) -> io::Result<()> {
        self.job("snapshot-delete", json!({ "tag": tag, "devices": [STORE] }))
    }

    /// Returns the places in the guest's memory that QEMU writes anew when it resets the machine, such
    /// as those of a kernel that it has loaded.
    pub(crate) fn loaded(&self) -> io::Result<Vec<Range<u64>>> {
        let table = self.execute(&human_monitor_command {
            command_line: "info roms".to_owned(),
            cpu_index: None,
        })?;
        Ok(table.lines().filter_map(loaded).collect())
    }

    /// Returns the machine's generation ID as the guest's memory has it, if the machine has one.
    pub(crate) fn generation(&self) -> io::Result<Option<[u8; 16]>> {
        match self.ask("query-vm-generation-id", &json!({})) {
            Ok(answer) => {
                let text = answer["guid"].as_str().unwrap_or_default();
                Ok(Some(guid(text).ok_or(io::ErrorKind::InvalidData)?))
            }
            // QEMU refuses: there is no such device.
            Err(error) if error.kind() == io::ErrorKind::Other => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs a job to its end (QEMU, qapi/job.json).
    fn job(&self, command: &str, mut arguments: Any) -> io::Result<()> {
        let jobs = lock(&self.jobs);
        // An earlier job may have ended after its limit.
        while jobs.try_recv().is_ok() {}
        arguments["job-id"] = json!(JOB);
        self.ask(command, &arguments)?;
        match jobs.recv_timeout(JOB_LIMIT) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
            Err(RecvTimeoutError::Disconnected) => return Err(closed()),
        }
        let all = self.ask("query-jobs", &json!({}))?;
        let jobs = all.as_array().map(Vec::as_slice).unwrap_or_default();
        let ours = jobs.iter().find(|job| job["id"] == JOB);
        let error = ours
            .and_then(|job| job["error"].as_str())
            .map(str::to_owned);
        self.ask("job-dismiss", &json!({ "id": JOB }))?;
        error.map_or(Ok(()), |why| Err(io::Error::other(why)))
    }
}

/// Parses a line of `info roms`; `None` for what is not in the guest's memory (QEMU, hw/core/loader.c,
/// `qmp_x_query_roms`).
pub(crate) fn loaded(line: &str) -> Option<Range<u64>> {
    let mut words = line.split_whitespace();
    let mut number = |key: &str| {
        let digits = words.next()?.strip_prefix(key)?;
        u64::from_str_radix(digits.trim_start_matches("0x"), 16).ok()
    };
    let (start, size) = (number("addr=")?, number("size=")?);
    let in_memory = words.next()? == "mem=ram";
    in_memory.then_some(start..start.checked_add(size)?)
}

/// Parses a GUID. The first three fields are little-endian in memory (QEMU, docs/specs/vmgenid).
fn guid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.split('-').collect();
    if !text.is_ascii() || digits.len() != 32 {
        return None;
    }
    let number = u128::from_str_radix(&digits, 16).ok()?;
    let mut bytes = number.to_be_bytes();
    bytes[0..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_guests_memory_is_loaded() {
        for (line, expected) in [
            (
                "addr=0000000001000000 size=0x2a3000 mem=ram name=\"phdr #0: /boot/kernel\"",
                Some(0x100_0000..0x12a_3000),
            ),
            (
                "addr=00000000fffc0000 size=0x040000 mem=rom name=\"bios-256k.bin\"",
                None,
            ),
            (
                "/rom@etc/acpi/tables size=0x200000 name=\"etc/acpi/tables\"",
                None,
            ),
            ("addr=ffffffffffffffff size=0x2 mem=ram name=\"x\"", None),
            ("addr=x size=0x2 mem=ram", None),
            ("", None),
        ] {
            assert_eq!(loaded(line), expected, "{line}");
        }
    }

    #[test]
    fn a_guid_is_as_firmware_has_it() {
        let bytes = guid("9d4a9489-ed6f-4a73-8ab0-01ef51310f74").expect("a GUID");
        let expected = [
            0x89, 0x94, 0x4a, 0x9d, 0x6f, 0xed, 0x73, 0x4a, 0x8a, 0xb0, 0x01, 0xef, 0x51, 0x31,
            0x0f, 0x74,
        ];
        assert_eq!(bytes, expected);
        for text in ["", "9d4a9489", "9d4a9489-ed6f-4a73-8ab0-01ef51310fxy", "é"] {
            assert_eq!(guid(text), None, "{text}");
        }
    }
}
