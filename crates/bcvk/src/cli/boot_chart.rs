//! `boot-chart`.

use std::path::PathBuf;

use clap::Args;

use super::VmOptions;

/// Show where the time of a boot went
///
/// Of host and guest on one axis; of a VM that is ready, or with --run of one that is booted for it and removed afterwards. Without -o
/// or --json, prints the chart as text.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
bcvk ephemeral boot-chart [-o FILE | --json] [--all] NAME
       bcvk ephemeral boot-chart [-o FILE | --json] [--all] [VM OPTIONS] --run IMAGE [-- CMD...]",
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
        conflicts_with_all = ["run", "VmOptions", "GuestOptions"]
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
    #[arg(last = true, value_name = "CMD", requires = "run")]
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
