//! `inspect`.

use clap::Args;

use super::common::VmRefs;
use super::{Description, words};

/// Describe ephemeral VMs as JSON
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral inspect testvm
  bcvk ephemeral inspect -f '{{.State}}' testvm
  bcvk ephemeral inspect testvm | jq -r .Status.failure.message")]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) vms: VmRefs,

    /// How to print: json, or a template
    ///
    /// In a template, `{{.KEY}}` and `{{.KEY.KEY}}` stand for values, and `{{json .KEY}}` for one as
    /// JSON. A line is printed for each VM.
    #[arg(short, long, value_name = "FORMAT", value_parser = words::parser::<Description>(), hide_possible_values = true)]
    pub(crate) format: Option<Description>,
}
