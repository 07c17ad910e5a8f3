//! Entries of the archive, and the tree that they are collected in.

use crate::early::{PROGRAM, SYSTEM_PROGRAM};

/// An entry of the archive that is appended to the initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path without a leading slash.
    pub path: String,
    /// Content of the entry.
    pub content: Content,
}

/// Content of an [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file, mode 0644.
    File(String),
    /// A file that only root may read, mode 0600.
    Secret(String),
    /// A symbolic link.
    Link(String),
}

/// Name of this program in the templates of services.
const PLACE: &str = "@BCVK@";

/// Entries in the making. There are two roots: the initramfs's own, and what is copied to the real
/// `/run`.
#[derive(Default)]
pub(super) struct Tree(pub(super) Vec<Entry>);

impl Tree {
    pub(super) fn file(&mut self, path: &str, text: &str) {
        self.0.push(Entry {
            path: path.to_owned(),
            content: Content::File(text.to_owned()),
        });
    }

    pub(super) fn link(&mut self, path: String, target: String) {
        self.0.push(Entry {
            path,
            content: Content::Link(target),
        });
    }

    /// Adds a service of this program's to the initramfs.
    pub(super) fn initrd_service(&mut self, name: &str, template: &str) {
        let text = template.replace(PLACE, PROGRAM);
        self.file(&format!("etc/systemd/system/{name}"), &text);
    }

    /// Starts a unit of the initramfs with another, as the directory `dependency` has it.
    pub(super) fn initrd_wants(&mut self, dependency: &str, unit: &str) {
        self.link(
            format!("etc/systemd/system/{dependency}/{unit}"),
            format!("../{unit}"),
        );
    }

    pub(super) fn mask(&mut self, path: String) {
        self.link(path, "/dev/null".to_owned());
    }

    pub(super) fn run_file(&mut self, path: &str, text: &str) {
        self.file(&format!("usr/lib/bcvk/run/{path}"), text);
    }

    pub(super) fn secret(&mut self, path: String, text: String) {
        self.0.push(Entry {
            path,
            content: Content::Secret(text),
        });
    }

    pub(super) fn run_secret(&mut self, path: &str, text: &str) {
        self.secret(format!("usr/lib/bcvk/run/{path}"), text.to_owned());
    }

    pub(super) fn run_unit(&mut self, name: &str, text: &str) {
        self.run_file(&format!("systemd/system/{name}"), text);
    }

    /// Adds a service of this program's.
    pub(super) fn run_service(&mut self, name: &str, template: &str) {
        self.run_unit(name, &template.replace(PLACE, SYSTEM_PROGRAM));
    }

    /// Starts one of our units with `target`.
    pub(super) fn run_wants(&mut self, target: &str, unit: &str) {
        self.link(
            format!("usr/lib/bcvk/run/systemd/system/{target}.wants/{unit}"),
            format!("../{unit}"),
        );
    }

    /// Starts a unit of the image's with `target`. systemd takes the unit's name from the link, so
    /// the file may be in any of its directories.
    pub(super) fn run_wants_image(&mut self, target: &str, unit: &str) {
        self.link(
            format!("usr/lib/bcvk/run/systemd/system/{target}.wants/{unit}"),
            format!("/usr/lib/systemd/system/{unit}"),
        );
    }
}
