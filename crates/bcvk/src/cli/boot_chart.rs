//! `boot-chart`.

use std::path::PathBuf;

use clap::{Args, Command, Id};

use super::VmOptions;

/// Show where the time of a boot went
///
/// Host and guest are on one axis: of a VM that is ready, or with --run of one that is booted for it
/// and removed afterwards. Without -o or --json, prints the chart as text.
#[derive(Debug, Args)]
#[command(
    // These options would leave no login to wait for, and are errors.
    mut_arg("no_ssh_keygen", |arg| arg.hide(true)),
    mut_arg("execute", |arg| arg.hide(true)),
    override_usage = "\
bcvk ephemeral boot-chart [OPTIONS] NAME
       bcvk ephemeral boot-chart [OPTIONS] --run IMAGE [-- CMD...]",
    after_help = "\
Examples:
  bcvk ephemeral boot-chart testvm
  bcvk ephemeral boot-chart -o boot.svg --run localhost/mybootc
  bcvk ephemeral boot-chart --run localhost/mybootc --initramfs direct -- true"
)]
pub(crate) struct BootChart {
    /// Name or container ID of a VM that is ready
    ///
    /// At least the first four digits of an ID are enough.
    #[arg(
        value_name = "NAME",
        required_unless_present = "run",
        conflicts_with_all = of_a_new_vm()
    )]
    pub(crate) vm: Option<String>,

    /// Boot this image, and remove the VM afterwards
    ///
    /// The VM's options are those of **run-ssh**.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) run: Option<String>,

    /// Command whose end is that of the chart
    ///
    /// It is run in the VM of **--run**. Its output goes to standard error, or with **-o** *FILE* to
    /// standard output.
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,

    /// Write an SVG picture; - is standard output
    ///
    /// A file that exists is replaced, in one step, once the whole picture is there.
    #[arg(short, long = "svg", value_name = "FILE", conflicts_with = "json")]
    pub(crate) output_file: Option<PathBuf>,

    /// Print the times as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Show every unit, however little time it took
    ///
    /// Otherwise those are left out that kept nothing waiting and took less than a column of the text,
    /// or a 200th of the picture's axis; how many is said below the chart.
    #[arg(long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) options: VmOptions,
}

/// Lists the arguments that only apply to a VM that is yet to be booted.
fn of_a_new_vm() -> Vec<Id> {
    let options = VmOptions::augment_args(Command::new("vm"));
    let ids = options
        .get_arguments()
        .map(|option| option.get_id().clone());
    ids.chain(["run".into(), "command".into()]).collect()
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, CommandFactory as _};

    use super::*;
    use crate::cli::Cli;

    fn parse(words: &[&str]) -> Result<(), clap::error::ErrorKind> {
        let words = ["bcvk", "ephemeral", "boot-chart"].iter().chain(words);
        let result = Cli::command().try_get_matches_from(words);
        result.map(drop).map_err(|error| error.kind())
    }

    #[test]
    fn an_option_of_a_new_vm_is_not_ignored_for_another() {
        let all = VmOptions::augment_args(Command::new("vm"));
        for option in all.get_arguments() {
            let name = option.get_long().expect("a long name");
            let value = option.get_default_values().first();
            let value = value.map_or("1", |value| value.to_str().expect("UTF-8"));
            let word = match option.get_action() {
                ArgAction::SetTrue => format!("--{name}"),
                _ => format!("--{name}={value}"),
            };
            let refused = parse(&[&word, "testvm"]).expect_err(&word);
            // An option has no value here that all its parsers accept, so it may be refused for its
            // value.
            let expected = [
                clap::error::ErrorKind::ArgumentConflict,
                clap::error::ErrorKind::ValueValidation,
            ];
            assert!(expected.contains(&refused), "{word}: {refused:?}");
        }
    }

    #[test]
    fn one_vm_is_named_or_booted() {
        for words in [
            &["testvm"][..],
            &["testvm", "--json", "--all"],
            &["-o", "-", "testvm"],
            &["--run", "image", "--memory=1G", "--", "sh", "-c", "true"],
        ] {
            assert_eq!(parse(words), Ok(()), "{words:?}");
        }
        for words in [
            &[][..],
            &["testvm", "--run", "image"],
            &["testvm", "--", "true"],
            &["--run", "image", "true"],
            &["testvm", "--json", "-o", "x"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
