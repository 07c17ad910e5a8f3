//! `bcvk images`.

use clap::{Args, Subcommand};

/// Arguments of `bcvk images`.
#[derive(Debug, Args)]
pub(crate) struct Images {
    #[command(subcommand)]
    pub(crate) verb: ImagesVerb,
}

/// The verbs of `bcvk images`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImagesVerb {
    List(ImagesList),
}

/// List the images here that can boot
///
/// These are the images in podman's store with the label containers.bootc or ostree.bootable.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk images list
  bcvk images list --json | jq -r '.[].Names[]'")]
pub(crate) struct ImagesList {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
