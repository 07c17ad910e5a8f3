//! Images as podman has them.

pub(crate) mod inspect;
pub(crate) mod list;
