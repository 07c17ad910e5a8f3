//! The bcvk binary: all of it is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    bcvk::main()
}
