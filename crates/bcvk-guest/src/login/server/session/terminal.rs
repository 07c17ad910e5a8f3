//! Pseudo-terminals.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::fs::{Gid, Mode, Uid, fchmod, fchown};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use super::modes;
use crate::facts::User;
use crate::login::device::Device;
use crate::login::server::wire::Fields;

/// A pseudo-terminal of a session.
pub(super) struct Terminal {
    master: OwnedFd,
    /// Side of the session's process, until it has been started.
    user_side: Option<OwnedFd>,
    name: String,
    kind: String,
}

impl Terminal {
    /// Opens a terminal of a kind that terminfo(5) knows, with modes as the protocol encodes them.
    pub(super) fn open(kind: String, size: Winsize, modes: &[u8]) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let user_side = ioctl_tiocgptpeer(&master, flags)?;
        let name = ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
        tcsetwinsize(&user_side, size)?;
        let mut attributes = tcgetattr(&user_side)?;
        modes::apply(&mut attributes, modes)?;
        tcsetattr(&user_side, OptionalActions::Now, &attributes)?;
        Ok(Self {
            master,
            user_side: Some(user_side),
            name,
            kind,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the stream of what the session's process writes and reads. When nobody has the other side
    /// open any more, a read is an error.
    pub(super) fn stream(&self) -> io::Result<Device> {
        Device::new(self.master.try_clone()?.into())
    }

    pub(super) fn resize(&self, size: Winsize) -> io::Result<()> {
        Ok(tcsetwinsize(&self.master, size)?)
    }

    /// Gives the side of the session's process to `user`, and returns it for each standard stream.
    pub(super) fn take_user_side(&mut self, user: &User) -> io::Result<[Stdio; 3]> {
        let side = self.user_side.take().ok_or(io::ErrorKind::NotFound)?;
        let own = Gid::from_raw(user.gid);
        fchown(&side, Some(Uid::from_raw(user.uid)), Some(own))?;
        // Others write to it with write(1) where there is a group for it; here it is the user's alone.
        fchmod(&side, Mode::RUSR | Mode::WUSR)?;
        Ok([side.try_clone()?, side.try_clone()?, side].map(Stdio::from))
    }
}

/// Reads the size of a terminal: columns, rows, width and height.
pub(super) fn size(fields: &mut Fields<'_>) -> io::Result<Winsize> {
    let mut next = || -> io::Result<u16> { Ok(u16::try_from(fields.number()?).unwrap_or(0)) };
    let (ws_col, ws_row) = (next()?, next()?);
    Ok(Winsize {
        ws_row,
        ws_col,
        ws_xpixel: next()?,
        ws_ypixel: next()?,
    })
}
