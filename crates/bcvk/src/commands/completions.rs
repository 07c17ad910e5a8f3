//! `bcvk completions`.

use std::process::ExitCode;

use super::complete;
use crate::cli::Completions;
use crate::ui;

pub(super) fn completions(args: &Completions) -> ExitCode {
    ui::print(&complete::script(&args.shell.to_string()));
    ExitCode::SUCCESS
}
