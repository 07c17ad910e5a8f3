//! Parser of the user's configuration, for `fuzz/`: it panics if a result cannot be right.

pub use crate::cli::fuzzing::config;

#[cfg(test)]
mod seeds {
    bcvk_testkit::test_seeds!(bcvk: config);
}
