//! `bcvk completions`.

use std::process::ExitCode;

use crate::cli::{Completions, visible};
use crate::ui;

pub(super) fn completions(args: &Completions) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(), "bcvk", &mut script);
    ui::print(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
