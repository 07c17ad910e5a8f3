//! SSH as bcvk uses it: a fresh key for every VM and a configuration for the host's `ssh`.

pub mod client;
mod keys;

pub use keys::{KeyError, KeyPair};
