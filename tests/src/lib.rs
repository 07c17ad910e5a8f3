//! Black-box tests: see `tests/`, one file per topic.
