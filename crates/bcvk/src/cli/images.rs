//! `bcvk images`.

use clap::{Args, Subcommand};

use super::common::Listing;

/// Show which images here can boot
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk images
  bcvk images list --json | jq -r '.[].Names[]'")]
pub(crate) struct Images {
    #[command(subcommand)]
    pub(crate) verb: ImagesVerb,
}

/// The verbs of `bcvk images`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImagesVerb {
    #[command(alias = "ls")]
    List(ImagesList),
}

/// List the images here that can boot
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk images list
  bcvk images list --json | jq -r '.[].Names[]'")]
pub(crate) struct ImagesList {
    #[command(flatten)]
    pub(crate) listing: Listing,
}
