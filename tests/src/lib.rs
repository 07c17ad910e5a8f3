//! Black-box tests: see `tests/`, one file per topic. This crate has what the tests of the
//! documents need, and the report of a run.

pub mod ci;
pub mod links;
pub mod page;
pub mod stage;
pub mod times;
