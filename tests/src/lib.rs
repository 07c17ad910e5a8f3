//! Black-box tests: see `tests/`, one file per topic. This crate has what the tests of the
//! documents need.

pub mod ci;
pub mod links;
pub mod page;
pub mod stage;
