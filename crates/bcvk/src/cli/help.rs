//! Selection of the help texts: the part of each command's description that its help shows.
//!
//! The doc comments of options have two parts. The first paragraph is a line of the help, and more
//! is for the manual: help that fits a screen is read.

use clap::{Command, CommandFactory};

use super::{Cli, words};

/// Headings under which a VM's many options are listed, in the order of their first options.
pub(crate) mod heading {
    pub(crate) const MACHINE: &str = "Machine";
    pub(crate) const BOOT: &str = "Boot";
    pub(crate) const NETWORK: &str = "Network";
    pub(crate) const OUTPUT: &str = "Output";
    pub(crate) const FILES: &str = "Files and disks";
    pub(crate) const CLUSTER: &str = "Cluster";
}

/// Place of the options that every command has: behind its own, where clap puts `--help`.
pub(super) const LAST: usize = 900;

/// The command line with everything that the manual says of it.
#[must_use]
pub fn described() -> Command {
    words::in_help(Cli::command())
}

/// The command line as it is parsed, whose `-h` and `--help` are the same.
pub(crate) fn command() -> Command {
    brief(described(), "")
}

/// The command line as users type it, without the subcommands that bcvk runs of itself.
pub(crate) fn visible() -> Command {
    let all = command();
    let shown = all.get_subcommands().filter(|c| !c.is_hide_set()).cloned();
    Command::new("bcvk")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .args(all.get_arguments().cloned())
        .subcommands(shown)
}

/// Shortens the help of a command; `above` is the page of the command that this one is below.
fn brief(command: Command, above: &str) -> Command {
    let name = command.get_name().to_owned();
    let page = match above {
        "" => name,
        "bcvk" | "bcvk-ephemeral" => format!("{above}-{name}"),
        // The subcommands of a verb are described on the verb's page.
        _ => above.to_owned(),
    };
    let examples = command.get_after_help().map(ToString::to_string);
    let examples = examples.unwrap_or_default();
    command
        .long_about(None)
        .after_help(format!("{examples}\n\nMore is in the manual: man {page}"))
        .mut_args(|arg| arg.long_help(None))
        .mut_subcommands(|below| brief(below, &page))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of the terminal that help has to fit.
    const WIDTH: usize = 80;
    /// Lines of that terminal.
    const HEIGHT: usize = 40;
    /// Lines of the help of the commands that start a VM, which have more options.
    const HEIGHT_OF_LONG: usize = 76;
    const LONG: [&str; 5] = ["run", "run-ssh", "check", "boot-chart", "kube"];

    fn each(command: &mut Command, check: &mut dyn FnMut(&mut Command)) {
        check(command);
        for sub in command.get_subcommands_mut().filter(|c| !c.is_hide_set()) {
            if sub.get_name() != "help" {
                each(sub, check);
            }
        }
    }

    #[test]
    fn every_help_fits_a_screen_and_has_examples() {
        let mut all = command().term_width(WIDTH);
        all.build();
        let mut seen = 0;
        each(&mut all, &mut |command| {
            seen += 1;
            let name = command.get_name().to_owned();
            let brief = command.render_help().to_string();
            let what = format!("help of {name}:\n{brief}");
            assert!(
                brief.contains("\n\nMore is in the manual: man bcvk"),
                "{what}"
            );
            let examples = brief.split_once("\nExamples:\n  ");
            assert!(examples.is_some_and(|(_, e)| e.contains("bcvk ")), "{what}");
            let height = if LONG.contains(&name.as_str()) {
                HEIGHT_OF_LONG
            } else {
                HEIGHT
            };
            assert!(brief.lines().count() <= height, "{what}");
            for line in brief.lines() {
                assert!(line.chars().count() <= WIDTH, "'{line}' of the {what}");
                // Such a line would continue an option's text, or be a text below its option.
                assert!(!line.starts_with("         "), "'{line}' of the {what}");
            }
        });
        assert!(seen > 15, "only {seen} commands");
    }

    #[test]
    fn both_names_of_help_say_the_same() {
        for verb in ["run", "wait", "kube"] {
            let said = ["-h", "--help"].map(|flag| {
                let asked = command().try_get_matches_from(["bcvk", "ephemeral", verb, flag]);
                asked.expect_err("help is said as an error").to_string()
            });
            assert_eq!(said[0], said[1]);
        }
    }

    #[test]
    fn options_have_a_line_each() {
        let mut all = command();
        all.build();
        each(&mut all, &mut |command| {
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let name = format!("{} of {}", arg.get_id(), command.get_name());
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty() && !help.contains('\n'), "{name}: {help}");
                // The marks of the manual's language mean nothing at a terminal.
                assert!(
                    !help.contains("**") && !help.contains('`'),
                    "{name}: {help}"
                );
            }
        });
    }
}
