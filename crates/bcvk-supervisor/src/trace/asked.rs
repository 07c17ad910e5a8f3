//! Questions of a guest about its image, as its file server hears them.

use std::collections::HashMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use bcvk_contract::spec::Sha256Digest;

use super::found::{Found, Questions, find};
use super::{Look, MAX_NAMES, Trace, is_name};

/// Number that a file server gives a file.
type Inode = u64;

/// Greatest number of extended attributes that are remembered of one file.
const MAX_XATTRS: usize = 16;

/// All that a guest has asked about its image so far.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Names in the order in which they were first looked for; the first is the root's.
    names: Vec<Name>,
    /// Number of each name, by its directory's file.
    by_name: HashMap<(usize, Box<str>), usize>,
    files: Vec<File>,
    /// A file has another number after the guest has forgotten it.
    by_inode: HashMap<Inode, usize>,
    /// The reason why not all is remembered, if there is one.
    lost: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct Name {
    /// Number of the directory's name.
    dir: usize,
    text: Box<str>,
    /// Number of the file, if there is one.
    file: Option<usize>,
}

/// A file that was found, under one name or more.
#[derive(Debug, Clone, Default)]
struct File {
    /// Number of the name under which it was found first: a directory has no other.
    name: usize,
    questions: Questions,
}

impl Asked {
    /// Begins with an image whose root has the number `root`.
    pub(crate) fn new(root: Inode) -> Self {
        Self {
            names: vec![Name {
                dir: 0,
                text: "".into(),
                file: Some(0),
            }],
            by_name: HashMap::new(),
            files: vec![File::default()],
            by_inode: HashMap::from([(root, 0)]),
            lost: None,
        }
    }

    /// Remembers files whose content the guest has been given in another way. Their paths have no links
    /// in them.
    pub(crate) fn given(&mut self, paths: &[PathBuf]) {
        for path in paths {
            let mut file = 0;
            for name in path.components() {
                let Component::Normal(name) = name else {
                    continue;
                };
                let Some(name) = name.to_str() else {
                    return self.lose("a file was given whose name is no text");
                };
                let known = self.by_name.get(&(file, name.into()));
                let known = known.and_then(|number| self.names[*number].file);
                file = known.unwrap_or_else(|| {
                    let new = self.new_file();
                    self.add(file, name, Some(new));
                    new
                });
            }
            self.files[file].questions.content = true;
        }
    }

    /// Remembers that `name` was looked for in `dir`, and the file that was found.
    pub(crate) fn looked_up(&mut self, dir: Inode, name: &[u8], found: Option<Inode>) {
        let Some(&dir) = self.by_inode.get(&dir) else {
            return self.lose("a name was looked for in a directory that was never found");
        };
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name));
        let Some(name) = name else {
            return self.lose("a name was looked for that is no text");
        };
        if let Some(&number) = self.by_name.get(&(dir, name.into())) {
            return match (self.names[number].file, found) {
                (Some(file), Some(inode)) => self.number(inode, file),
                (None, None) => {}
                (Some(_), None) | (None, Some(_)) => self.lose("the image has changed"),
            };
        }
        if self.names.len() >= MAX_NAMES {
            return self.lose("more names were looked for than are remembered");
        }
        let file = found.map(|inode| {
            let known = self.by_inode.get(&inode).copied();
            let file = known.unwrap_or_else(|| self.new_file());
            self.number(inode, file);
            file
        });
        self.add(dir, name, file);
    }

    /// Adds a file that gets its first name next.
    fn new_file(&mut self) -> usize {
        self.files.push(File {
            name: self.names.len(),
            ..File::default()
        });
        self.files.len() - 1
    }

    fn add(&mut self, dir: usize, name: &str, file: Option<usize>) {
        self.by_name.insert((dir, name.into()), self.names.len());
        self.names.push(Name {
            dir: self.files[dir].name,
            text: name.into(),
            file,
        });
    }

    fn number(&mut self, inode: Inode, file: usize) {
        if self.by_inode.len() >= 2 * MAX_NAMES {
            return self.lose("more files were found than are remembered");
        }
        if self
            .by_inode
            .insert(inode, file)
            .is_some_and(|known| known != file)
        {
            self.lose("a file has a name by which another was known");
        }
    }

    /// Remembers that the content of a file was read, the target of a link or the names in a
    /// directory.
    pub(crate) fn read(&mut self, inode: Inode) {
        if let Some(questions) = self.questions(inode) {
            questions.content = true;
        }
    }

    /// Remembers that an extended attribute was asked for.
    pub(crate) fn asked_for_xattr(&mut self, inode: Inode, name: &[u8]) {
        let Ok(name) = std::str::from_utf8(name) else {
            return self.lose("an extended attribute was asked for whose name is no text");
        };
        let Some(questions) = self.questions(inode) else {
            return;
        };
        questions.xattrs.insert(name.to_owned());
        if questions.xattrs.len() > MAX_XATTRS {
            self.lose("more extended attributes were asked for than are remembered");
        }
    }

    /// Remembers that the names of a file's extended attributes were listed.
    pub(crate) fn listed_xattrs(&mut self, inode: Inode) {
        if let Some(questions) = self.questions(inode) {
            questions.xattr_names = true;
        }
    }

    fn questions(&mut self, inode: Inode) -> Option<&mut Questions> {
        let Some(&file) = self.by_inode.get(&inode) else {
            self.lose("a file was asked about that was never found");
            return None;
        };
        Some(&mut self.files[file].questions)
    }

    /// Remembers that something was asked which is not remembered.
    pub(crate) fn lose(&mut self, why: &'static str) {
        self.lost.get_or_insert(why);
    }

    /// Looks for the answers in the image at `root`, for which `given` was made.
    ///
    /// # Errors
    /// If not all questions are known, or the image cannot be read.
    pub(crate) fn answered(self, root: &Path, given: Sha256Digest) -> io::Result<Trace> {
        if let Some(why) = self.lost {
            return Err(io::Error::other(why));
        }
        let mut trace = Trace {
            given,
            looks: Vec::with_capacity(self.names.len()),
        };
        for name in self.names {
            trace.looks.push(Look {
                dir: u32::try_from(name.dir).map_err(io::Error::other)?,
                name: name.text.into(),
                found: None,
            });
            let number = trace.looks.len() - 1;
            let Some(file) = name.file else { continue };
            let questions = &self.files[file].questions;
            let path = trace.path(number);
            let found: Option<Found> = find(root, &path, questions)?;
            let found = found.ok_or_else(|| io::Error::other("the image has changed"))?;
            trace.looks[number].found = Some(found);
        }
        Ok(trace)
    }
}
