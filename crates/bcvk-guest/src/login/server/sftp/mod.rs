//! Files with SFTP, for images without sftp-server: version 3 of the protocol
//! (draft-ietf-secsh-filexfer-02), and the extensions that OpenSSH's sftp and scp use (PROTOCOL,
//! section 4).
//!
//! It runs in a process of the user, so the kernel decides what they may do.

mod attributes;
mod handles;
mod paths;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use self::attributes::Attributes;
use self::handles::Handles;
use super::wire::{Fields, Message, violation};

/// Version of the protocol.
const VERSION: u32 = 3;
/// Largest packet (`SFTP_MAX_MSG_LENGTH`, OpenSSH, sftp-common.h).
const MAX_PACKET: u32 = 256 << 10;
/// Most data of one read or write: what a packet holds beside its other fields.
const MAX_DATA: u32 = MAX_PACKET - 1024;

/// Numbers of messages (section 3).
mod kind {
    pub(super) const INIT: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
    pub(super) const READ: u8 = 5;
    pub(super) const WRITE: u8 = 6;
    pub(super) const LSTAT: u8 = 7;
    pub(super) const FSTAT: u8 = 8;
    pub(super) const SETSTAT: u8 = 9;
    pub(super) const FSETSTAT: u8 = 10;
    pub(super) const OPENDIR: u8 = 11;
    pub(super) const READDIR: u8 = 12;
    pub(super) const REMOVE: u8 = 13;
    pub(super) const MKDIR: u8 = 14;
    pub(super) const RMDIR: u8 = 15;
    pub(super) const REALPATH: u8 = 16;
    pub(super) const STAT: u8 = 17;
    pub(super) const RENAME: u8 = 18;
    pub(super) const READLINK: u8 = 19;
    pub(super) const SYMLINK: u8 = 20;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const NAME: u8 = 104;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
    pub(super) const EXTENDED_REPLY: u8 = 201;
}

const EXTENSIONS: [(&str, &str); 6] = [
    ("posix-rename@openssh.com", "1"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
];

/// Answer to a request.
enum Reply {
    Done,
    End,
    Handle(u32),
    Data(Vec<u8>),
    Attributes(Attributes),
    /// Names with what `ls -l` shows of them.
    Names(Vec<(Vec<u8>, String, Attributes)>),
    Limits,
}

/// Serves requests until there are no more.
///
/// # Errors
/// If the client does not keep to the protocol, or has gone.
pub(super) fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut handles = Handles::default();
    while let Some(packet) = packet(input)? {
        let mut fields = Fields::new(&packet);
        let kind = fields.byte()?;
        let answer = if kind == kind::INIT {
            EXTENSIONS.iter().fold(
                Message::new(kind::VERSION).number(VERSION),
                |message, (name, version)| message.bytes(name).bytes(version),
            )
        } else {
            let id = fields.number()?;
            answer(id, handle(kind, fields, &mut handles))
        };
        let answer = Message::default().bytes(answer.into_bytes());
        output.write_all(&answer.into_bytes())?;
        output.flush()?;
    }
    Ok(())
}

fn packet(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_be_bytes(length);
    if length > MAX_PACKET {
        return Err(violation("a request is too large"));
    }
    let mut packet = vec![0; length as usize];
    input.read_exact(&mut packet)?;
    Ok(Some(packet))
}

fn handle(kind: u8, mut fields: Fields<'_>, handles: &mut Handles) -> io::Result<Reply> {
    match kind {
        kind::OPEN => {
            let (path, flags) = (path(&mut fields)?, fields.number()?);
            let attributes = Attributes::read(&mut fields)?;
            handles.open(path, flags, &attributes).map(Reply::Handle)
        }
        kind::OPENDIR => handles.open_dir(path(&mut fields)?).map(Reply::Handle),
        kind::CLOSE => handles.close(&mut fields).map(|()| Reply::Done),
        kind::READ => {
            let data = handles.read(&mut fields, MAX_DATA)?;
            Ok(if data.is_empty() {
                Reply::End
            } else {
                Reply::Data(data)
            })
        }
        kind::WRITE => handles.write(&mut fields).map(|()| Reply::Done),
        kind::READDIR => {
            let names = handles.read_dir(&mut fields)?;
            Ok(if names.is_empty() {
                Reply::End
            } else {
                Reply::Names(names)
            })
        }
        kind::FSTAT => {
            let metadata = handles.file(&mut fields)?.metadata()?;
            Ok(Reply::Attributes(Attributes::of(&metadata)))
        }
        kind::FSETSTAT => {
            let file = handles.file(&mut fields)?;
            Attributes::read(&mut fields)?.apply_to(file)?;
            Ok(Reply::Done)
        }
        kind::EXTENDED => extended(fields, handles),
        _ => by_path(kind, fields),
    }
}

/// Carries out a request that names files by their paths.
fn by_path(kind: u8, mut fields: Fields<'_>) -> io::Result<Reply> {
    let name = path(&mut fields)?;
    match kind {
        kind::STAT => return Ok(Reply::Attributes(Attributes::of(&fs::metadata(name)?))),
        kind::LSTAT => {
            return Ok(Reply::Attributes(Attributes::of(&fs::symlink_metadata(
                name,
            )?)));
        }
        kind::REALPATH => return Ok(Reply::name(&paths::resolve(name)?)),
        kind::READLINK => return Ok(Reply::name(&fs::read_link(name)?)),
        kind::SETSTAT => Attributes::read(&mut fields)?.apply(name, true)?,
        kind::REMOVE => fs::remove_file(name)?,
        kind::RMDIR => fs::remove_dir(name)?,
        kind::MKDIR => {
            let mode = Attributes::read(&mut fields)?.mode().unwrap_or(0o777);
            fs::DirBuilder::new().mode(mode).create(name)?;
        }
        kind::RENAME => {
            let to = path(&mut fields)?;
            renameat_with(CWD, name, CWD, to, RenameFlags::NOREPLACE)?;
        }
        // OpenSSH's client and server have the arguments the other way round than the draft.
        kind::SYMLINK => symlink(name, path(&mut fields)?)?,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    }
    Ok(Reply::Done)
}

fn extended(mut fields: Fields<'_>, handles: &mut Handles) -> io::Result<Reply> {
    match fields.text()? {
        "posix-rename@openssh.com" => fs::rename(path(&mut fields)?, path(&mut fields)?)?,
        "hardlink@openssh.com" => fs::hard_link(path(&mut fields)?, path(&mut fields)?)?,
        "fsync@openssh.com" => handles.file(&mut fields)?.sync_all()?,
        "lsetstat@openssh.com" => {
            let name = path(&mut fields)?;
            Attributes::read(&mut fields)?.apply(name, false)?;
        }
        "limits@openssh.com" => return Ok(Reply::Limits),
        "expand-path@openssh.com" => {
            return Ok(Reply::name(&paths::resolve(&paths::expand(path(
                &mut fields,
            )?)?)?));
        }
        _ => return Err(io::ErrorKind::Unsupported.into()),
    }
    Ok(Reply::Done)
}

fn path<'a>(fields: &mut Fields<'a>) -> io::Result<&'a Path> {
    let name = fields.bytes()?;
    // An empty name is the current directory (section 6.2).
    let name = if name.is_empty() { b"." } else { name };
    Ok(Path::new(std::ffi::OsStr::from_bytes(name)))
}

impl Reply {
    fn name(path: &Path) -> Self {
        let text = path.to_string_lossy().into_owned();
        let bytes = path.as_os_str().as_bytes().to_vec();
        Self::Names(vec![(bytes, text, Attributes::default())])
    }
}

fn answer(id: u32, reply: io::Result<Reply>) -> Message {
    let of_kind = |kind| Message::new(kind).number(id);
    let status = |number, text: &str| of_kind(kind::STATUS).number(number).bytes(text).bytes("");
    match reply {
        Ok(Reply::Done) => status(0, "Success"),
        Ok(Reply::End) => status(1, "End of file"),
        Ok(Reply::Handle(handle)) => of_kind(kind::HANDLE).bytes(handle.to_be_bytes()),
        Ok(Reply::Data(data)) => of_kind(kind::DATA).bytes(data),
        Ok(Reply::Attributes(attributes)) => attributes.write(of_kind(kind::ATTRS)),
        Ok(Reply::Names(names)) => {
            let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
            let message = of_kind(kind::NAME).number(count);
            names
                .iter()
                .fold(message, |message, (name, long, attributes)| {
                    attributes.write(message.bytes(name).bytes(long))
                })
        }
        Ok(Reply::Limits) => of_kind(kind::EXTENDED_REPLY)
            .long(MAX_PACKET.into())
            .long(MAX_DATA.into())
            .long(MAX_DATA.into())
            .long(handles::MAX as u64),
        Err(error) => {
            // Section 7.
            let number = match error.kind() {
                io::ErrorKind::NotFound => 2,
                io::ErrorKind::PermissionDenied => 3,
                io::ErrorKind::InvalidData => 5,
                io::ErrorKind::Unsupported => 8,
                _ => 4,
            };
            status(number, &error.to_string())
        }
    }
}
