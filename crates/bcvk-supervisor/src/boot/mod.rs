//! Everything that an image boots from: kernel, initramfs, kernel arguments, and the archive that is
//! added.

pub(super) mod bootconfig;
pub(super) mod bzimage;
pub(super) mod cmdline;
mod compression;
pub(super) mod cpio;
#[cfg(test)]
mod every;
pub(super) mod initramfs;
pub(super) mod kargs;
pub(super) mod kernel;
pub(super) mod modules;
pub(super) mod program;
pub(super) mod pvh;
pub(super) mod uki;
pub(super) mod zboot;
