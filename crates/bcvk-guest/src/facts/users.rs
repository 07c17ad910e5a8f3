//! Users of an image, as its files name them (passwd(5), group(5)).
//!
//! This program is static and cannot load the image's modules of the name service switch.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::text;
use crate::rooted::{Rooted, if_exists};

/// Directories of these files: the second has the users that the image itself brings (nss-altfiles).
const DIRECTORIES: [&str; 2] = ["/etc", "/usr/lib"];

/// Shells for users whose own lets nobody in, the preferred one first.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// A user of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups that the user is in, their own first.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: PathBuf,
    /// The user's shell, if it is one that runs commands and is there.
    pub(crate) shell: Option<PathBuf>,
}

impl User {
    /// Returns the shell of their sessions. Where there is none, it is the one that the error names.
    pub(crate) fn session_shell(&self) -> &Path {
        self.shell.as_deref().unwrap_or(Path::new("/bin/sh"))
    }
}

/// Finds a user of the image, whatever the state of their account.
///
/// # Errors
/// If the tree cannot be read.
pub(crate) fn find_user(root: &Rooted, name: &str) -> io::Result<Option<User>> {
    let found = parse(&both(root, "passwd")?, &both(root, "group")?, name);
    let Some(user) = found.or_else(|| made_up(name)) else {
        return Ok(None);
    };
    let shell = match user.shell {
        Some(shell) if runs_commands(&shell) && is_program(root, &shell)? => Some(shell),
        _ => None,
    };
    Ok(Some(User { shell, ..user }))
}

/// Finds a shell for users whose own lets nobody in.
///
/// # Errors
/// If the tree cannot be read.
pub(crate) fn stand_in_shell(root: &Rooted) -> io::Result<Option<PathBuf>> {
    for shell in SHELLS.map(PathBuf::from) {
        if is_program(root, &shell)? {
            return Ok(Some(shell));
        }
    }
    Ok(None)
}

/// Returns the lines of a file of each directory.
fn both(root: &Rooted, file: &str) -> io::Result<String> {
    let mut lines = String::new();
    for directory in DIRECTORIES {
        lines += &text(root, &format!("{directory}/{file}"))?;
        lines.push('\n');
    }
    Ok(lines)
}

/// Returns the root that systemd makes up where no file has one (nss-systemd(8)).
fn made_up(name: &str) -> Option<User> {
    (name == "root").then(|| User {
        name: name.to_owned(),
        uid: 0,
        gid: 0,
        groups: vec![0],
        home: "/root".into(),
        shell: Some("/bin/sh".into()),
    })
}

fn parse(passwd: &str, group: &str, name: &str) -> Option<User> {
    let line = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))?;
    let [_, _, uid, gid, _, home, rest @ ..] = &line[..] else {
        return None;
    };
    let gid = gid.parse().ok()?;
    let mut groups = vec![gid];
    for line in group.lines() {
        let fields: Vec<_> = line.split(':').collect();
        let [_, _, id, members] = fields[..] else {
            continue;
        };
        let member = members.split(',').any(|member| member.trim() == name);
        match id.parse() {
            Ok(id) if member && !groups.contains(&id) => groups.push(id),
            _ => {}
        }
    }
    let shell = rest.first().copied().filter(|shell| !shell.is_empty());
    Some(User {
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        gid,
        groups,
        home: home.into(),
        shell: Some(shell.unwrap_or("/bin/sh").into()),
    })
}

/// Returns true unless the shell is a program that stands for none.
fn runs_commands(shell: &Path) -> bool {
    let name = shell.file_name().and_then(|name| name.to_str());
    shell.is_absolute() && !matches!(name, Some("nologin" | "false" | "true" | "sync"))
}

fn is_program(root: &Rooted, path: &Path) -> io::Result<bool> {
    Ok(if_exists(root.metadata(path))?.is_some_and(|found| is_executable(&found)))
}

/// Returns true for a file that somebody may execute.
pub(crate) fn is_executable(found: &Metadata) -> bool {
    found.is_file() && found.permissions().mode() & 0o111 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:!*:0:0:root:/root:/usr/sbin/nologin\n\
        broken:x:nobody\n\
        half:x:7:7::/half\n\
        ada:x:1000:100:Ada,,,:/home/ada:/bin/zsh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,ada\nusers:x:100:ada\nbad:x:ada\n\
        ada:x:1000:bob\nwheel:x:10:ada\n";

    #[test]
    fn users_are_found_with_their_groups() {
        for (name, uid, gid, groups, home, shell) in [
            ("root", 0, 0, &[0, 10][..], "/root", "/usr/sbin/nologin"),
            ("half", 7, 7, &[7], "/half", "/bin/sh"),
            ("ada", 1000, 100, &[100, 10], "/home/ada", "/bin/zsh"),
        ] {
            let expected = User {
                name: name.into(),
                uid,
                gid,
                groups: groups.into(),
                home: home.into(),
                shell: Some(shell.into()),
            };
            assert_eq!(parse(PASSWD, GROUP, name), Some(expected));
        }
        for name in ["broken", "nobody", "", "ad", "x"] {
            assert_eq!(parse(PASSWD, GROUP, name), None, "{name}");
        }
    }

    #[test]
    fn there_is_always_a_root() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = Rooted::new(dir.path()).expect("the root");
        let user = find_user(&root, "root").expect("read").expect("a user");
        assert_eq!((user.uid, user.home.as_path()), (0, Path::new("/root")));
        assert_eq!(user.shell, None, "there is no /bin/sh");
        assert_eq!(find_user(&root, "ada").expect("read"), None);
    }
}
