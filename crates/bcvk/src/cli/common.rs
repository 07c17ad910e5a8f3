//! Arguments that several verbs have.

use clap::Args;

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

/// Form of a list.
#[derive(Debug, Args)]
pub(crate) struct Form {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
