//! Open files and directories.

use std::collections::HashMap;
use std::fs::{self, DirEntry, File, ReadDir};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::attributes::Attributes;
use crate::login::server::wire::{Fields, violation};

/// Number of handles that may be open at once.
pub(super) const MAX: usize = 512;
/// Number of names in one answer.
const NAMES: usize = 100;

/// Files and directories that a client has opened.
#[derive(Default)]
pub(super) struct Handles {
    open: HashMap<u32, Handle>,
    last: u32,
}

enum Handle {
    File { file: File, append: bool },
    Dir(ReadDir),
}

impl Handles {
    pub(super) fn open(
        &mut self,
        path: &Path,
        wanted: u32,
        attributes: &Attributes,
    ) -> io::Result<u32> {
        // Section 6.3.
        const READ: u32 = 1;
        const WRITE: u32 = 2;
        const APPEND: u32 = 4;
        let mut flags = match (wanted & READ != 0, wanted & WRITE != 0) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            (_, false) => OFlags::RDONLY,
        };
        for (bit, flag) in [
            (APPEND, OFlags::APPEND),
            (8, OFlags::CREATE),
            (16, OFlags::TRUNC),
            (32, OFlags::EXCL),
        ] {
            flags.set(flag, wanted & bit != 0);
        }
        let mode = Mode::from_raw_mode(attributes.mode().unwrap_or(0o666));
        let file = rustix::fs::open(path, flags | OFlags::CLOEXEC, mode)?;
        self.insert(Handle::File {
            file: file.into(),
            append: wanted & APPEND != 0,
        })
    }

    pub(super) fn open_dir(&mut self, path: &Path) -> io::Result<u32> {
        self.insert(Handle::Dir(fs::read_dir(path)?))
    }

    fn insert(&mut self, handle: Handle) -> io::Result<u32> {
        if self.open.len() >= MAX {
            return Err(io::Error::other("too many files are open"));
        }
        self.last = self.last.wrapping_add(1);
        self.open.insert(self.last, handle);
        Ok(self.last)
    }

    pub(super) fn close(&mut self, fields: &mut Fields<'_>) -> io::Result<()> {
        let removed = self.open.remove(&number(fields)?);
        removed.map(drop).ok_or_else(unknown)
    }

    pub(super) fn file(&self, fields: &mut Fields<'_>) -> io::Result<&File> {
        match self.open.get(&number(fields)?) {
            Some(Handle::File { file, .. }) => Ok(file),
            _ => Err(unknown()),
        }
    }

    /// Returns data of a file, none at its end.
    pub(super) fn read(&self, fields: &mut Fields<'_>, most: u32) -> io::Result<Vec<u8>> {
        let file = self.file(fields)?;
        let (offset, length) = (fields.long()?, fields.number()?);
        let mut data = vec![0; length.min(most) as usize];
        let length = file.read_at(&mut data, offset)?;
        data.truncate(length);
        Ok(data)
    }

    pub(super) fn write(&mut self, fields: &mut Fields<'_>) -> io::Result<()> {
        let handle = self.open.get_mut(&number(fields)?);
        let (offset, data) = (fields.long()?, fields.bytes()?);
        match handle {
            Some(Handle::File { file, append: true }) => io::Write::write_all(file, data),
            Some(Handle::File { file, .. }) => file.write_all_at(data, offset),
            _ => Err(unknown()),
        }
    }

    /// Returns the next names of a directory, none at its end.
    pub(super) fn read_dir(
        &mut self,
        fields: &mut Fields<'_>,
    ) -> io::Result<Vec<(Vec<u8>, String, Attributes)>> {
        let Some(Handle::Dir(dir)) = self.open.get_mut(&number(fields)?) else {
            return Err(unknown());
        };
        dir.take(NAMES).map(|entry| name(&entry?)).collect()
    }
}

fn name(entry: &DirEntry) -> io::Result<(Vec<u8>, String, Attributes)> {
    let metadata = entry.metadata()?;
    let attributes = Attributes::of(&metadata);
    let name = entry.file_name();
    let long = attributes.long(&metadata, &name.to_string_lossy());
    Ok((name.as_bytes().to_vec(), long, attributes))
}

fn number(fields: &mut Fields<'_>) -> io::Result<u32> {
    let handle = fields.bytes()?.try_into().map_err(|_| unknown())?;
    Ok(u32::from_be_bytes(handle))
}

fn unknown() -> io::Error {
    violation("there is no such handle")
}
