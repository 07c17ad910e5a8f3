//! Black-box tests: see `tests/`, one file per topic. This crate has what the tests of the
//! documents need, what several files of tests look at, and the report of a run.

pub mod ci;
pub mod links;
pub mod own_storage;
pub mod page;
pub mod rights;
pub mod stage;
pub mod stranger;
pub mod times;
