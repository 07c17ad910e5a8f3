//! Black-box tests: see `tests/`, one file per topic. Here is what those of the documents stand on.

pub mod ci;
pub mod links;
pub mod page;
pub mod stage;
