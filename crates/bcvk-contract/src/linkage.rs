//! How this program is linked.
//!
//! A dynamic program runs a loader, libraries and whatever `/etc/ld.so.preload` names. In the container
//! of a VM the image could bring these, and its code would run outside of the guest.

/// This program needs a loader and libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this bcvk starts no VMs: it is not a static program, so code of an image could run outside of its VM"
)]
pub struct NotStatic;

impl NotStatic {
    /// Commands that build a program which starts VMs.
    pub const HINT: &str = "`make install` in bcvk's source builds and installs one that is; so does \
                            `env -u RUSTFLAGS cargo install --path crates/bcvk`";
}

/// Checks that this program is static.
///
/// # Errors
/// [`NotStatic`]
pub fn check_static() -> Result<(), NotStatic> {
    allowed(cfg!(target_feature = "crt-static"))
}

const fn allowed(is_static: bool) -> Result<(), NotStatic> {
    if is_static { Ok(()) } else { Err(NotStatic) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_static_program_starts_vms() {
        assert_eq!(allowed(true), Ok(()));
        assert_eq!(allowed(false), Err(NotStatic));
    }
}
