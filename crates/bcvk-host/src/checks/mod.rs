//! Checks of the host, before anything is started.

pub(crate) mod accel;
pub(crate) mod account;
pub(crate) mod nested;
pub(crate) mod open_files;
pub(crate) mod subids;
pub(crate) mod tools;
pub(crate) mod trial;
