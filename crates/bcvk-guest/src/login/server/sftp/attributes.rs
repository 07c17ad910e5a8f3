//! Attributes of files (draft-ietf-secsh-filexfer-02, section 5).

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, chmodat, chownat, futimens, utimensat,
};

use crate::login::server::wire::{Fields, Message};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 1 << 31;

/// Bits of a mode that are permissions.
const MODE_BITS: u32 = 0o7777;

/// Attributes of a file, as far as they are known, or are to be set.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    size: Option<u64>,
    owner: Option<(u32, u32)>,
    /// Kind of the file and permissions, as `st_mode` has them.
    permissions: Option<u32>,
    /// Seconds since 1970 of the last access and the last change.
    times: Option<(u32, u32)>,
}

impl Attributes {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let seconds = |time: i64| u32::try_from(time).unwrap_or(0);
        Self {
            size: Some(metadata.size()),
            owner: Some((metadata.uid(), metadata.gid())),
            permissions: Some(metadata.mode()),
            times: Some((seconds(metadata.atime()), seconds(metadata.mtime()))),
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> io::Result<Self> {
        let flags = fields.number()?;
        let mut attributes = Self::default();
        if flags & SIZE != 0 {
            attributes.size = Some(fields.long()?);
        }
        if flags & OWNER != 0 {
            attributes.owner = Some((fields.number()?, fields.number()?));
        }
        if flags & PERMISSIONS != 0 {
            attributes.permissions = Some(fields.number()?);
        }
        if flags & TIMES != 0 {
            attributes.times = Some((fields.number()?, fields.number()?));
        }
        if flags & EXTENDED != 0 {
            for _ in 0..fields.number()? {
                fields.bytes()?;
                fields.bytes()?;
            }
        }
        Ok(attributes)
    }

    pub(super) fn write(&self, message: Message) -> Message {
        let flag = |is_known, flag| if is_known { flag } else { 0 };
        let mut message = message.number(
            flag(self.size.is_some(), SIZE)
                | flag(self.owner.is_some(), OWNER)
                | flag(self.permissions.is_some(), PERMISSIONS)
                | flag(self.times.is_some(), TIMES),
        );
        if let Some(size) = self.size {
            message = message.long(size);
        }
        if let Some((uid, gid)) = self.owner {
            message = message.number(uid).number(gid);
        }
        if let Some(permissions) = self.permissions {
            message = message.number(permissions);
        }
        if let Some((accessed, changed)) = self.times {
            message = message.number(accessed).number(changed);
        }
        message
    }

    pub(super) fn mode(&self) -> Option<u32> {
        self.permissions.map(|mode| mode & MODE_BITS)
    }

    /// Sets the attributes of a file at a path, or of a link there if it is not to be followed.
    pub(super) fn apply(&self, path: &Path, follow: bool) -> io::Result<()> {
        let flags = if follow {
            AtFlags::empty()
        } else {
            AtFlags::SYMLINK_NOFOLLOW
        };
        if let Some(size) = self.size {
            OpenOptions::new().write(true).open(path)?.set_len(size)?;
        }
        if let Some(mode) = self.mode() {
            chmodat(CWD, path, Mode::from_raw_mode(mode), flags)?;
        }
        if let Some(times) = self.timestamps() {
            utimensat(CWD, path, &times, flags)?;
        }
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            chownat(CWD, path, Some(uid), Some(gid), flags)?;
        }
        Ok(())
    }

    /// Sets the attributes of an open file.
    pub(super) fn apply_to(&self, file: &File) -> io::Result<()> {
        if let Some(size) = self.size {
            file.set_len(size)?;
        }
        if let Some(mode) = self.mode() {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        if let Some(times) = self.timestamps() {
            futimens(file, &times)?;
        }
        if let Some((uid, gid)) = self.owner {
            fchown(file, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    fn timestamps(&self) -> Option<Timestamps> {
        let at = |seconds: u32| Timespec {
            tv_sec: seconds.into(),
            tv_nsec: 0,
        };
        self.times.map(|(accessed, changed)| Timestamps {
            last_access: at(accessed),
            last_modification: at(changed),
        })
    }

    /// Returns a line as of `ls -l`, which sftp shows.
    pub(super) fn long(&self, metadata: &Metadata, name: &str) -> String {
        let changed = self.times.map_or(0, |(_, changed)| changed);
        format!(
            "{} {:>4} {:<8} {:<8} {:>8} {} {name}",
            mode_text(metadata.mode()),
            metadata.nlink(),
            metadata.uid(),
            metadata.gid(),
            metadata.size(),
            date(changed),
        )
    }
}

/// Returns a mode as ls(1) shows it.
fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o020_000 => 'c',
        0o060_000 => 'b',
        0o010_000 => 'p',
        0o140_000 => 's',
        _ => '-',
    };
    let bits = (0..9).map(|bit| {
        let is_set = mode & (0o400 >> bit) != 0;
        // One of set-user-ID, set-group-ID and sticky stands in the place of each execute bit.
        let special = bit % 3 == 2 && mode & (0o4000 >> (bit / 3)) != 0;
        let letter = if bit == 8 { 't' } else { 's' };
        match (special, is_set) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => ['r', 'w', 'x'][bit % 3],
            (false, false) => '-',
        }
    });
    std::iter::once(kind).chain(bits).collect()
}

/// Returns the date of a time in UTC (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`).
fn date(seconds: u32) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u32::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_dates_are_those_of_ls() {
        for (mode, text) in [
            (0o100_644, "-rw-r--r--"),
            (0o040_755, "drwxr-xr-x"),
            (0o120_777, "lrwxrwxrwx"),
            (0o104_755, "-rwsr-xr-x"),
            (0o102_640, "-rw-r-S---"),
            (0o041_777, "drwxrwxrwt"),
        ] {
            assert_eq!(mode_text(mode), text);
        }
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_795_824_000, "2026-11-28"),
            (u32::MAX, "2106-02-07"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }
}
