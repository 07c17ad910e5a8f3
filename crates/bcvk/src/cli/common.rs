//! Arguments that several verbs have.

use clap::Args;

use super::{Format, words};

/// The VM that a verb is about.
#[derive(Debug, Args)]
pub(crate) struct VmRef {
    /// Name or container ID
    ///
    /// At least the first four digits of an ID are enough.
    pub(crate) name: String,
}

/// The VMs that a verb is about.
#[derive(Debug, Args)]
pub(crate) struct VmRefs {
    /// Names or container IDs
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Option of verbs that boot a VM for themselves.
#[derive(Debug, Args)]
pub(crate) struct Keep {
    /// Keep the VM if something fails
    ///
    /// The VM stays as it is if the exit code is not 0: running if it runs, and its logs if it does not.
    /// The commands that enter and remove it are printed. An interrupt removes it.
    #[arg(long)]
    pub(crate) keep_on_failure: bool,
}

/// Form of a result.
#[derive(Debug, Args)]
pub(crate) struct Form {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Name of the option that means something else before the command than behind it.
const QUIET: &str = "quiet";

/// Form of a list whose entries have IDs.
#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// Print IDs only
    ///
    /// Before the command, **-q** is that of **bcvk**(8).
    // It takes the place of the global option, which has the same name.
    #[arg(short = 'q', long = "quiet", id = QUIET)]
    pub(crate) alone: bool,
}

/// Form of a list that has podman's templates.
#[derive(Debug, Args)]
pub(crate) struct Listing {
    #[command(flatten)]
    pub(crate) form: Form,

    #[command(flatten)]
    pub(crate) ids: Ids,

    /// How to print: table, json or a template
    ///
    /// In a template, `{{.KEY}}` stands for a value and `{{json .KEY}}` for it as JSON; `\t` and `\n`
    /// are a tab and a line feed. After `table`, the lines are laid out in columns, which tabs separate,
    /// and have a heading.
    #[arg(long, value_name = "FORMAT", value_parser = words::parser::<Format>(), hide_possible_values = true, conflicts_with_all = ["json", QUIET])]
    pub(crate) format: Option<Format>,

    /// Leave out the heading
    #[arg(long, alias = "no-heading")]
    pub(crate) noheading: bool,

    /// Print whole IDs
    #[arg(long)]
    pub(crate) no_trunc: bool,
}
