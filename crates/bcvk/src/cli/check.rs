//! `check`.

use std::path::PathBuf;

use bcvk_contract::spec::Timeout;
use bcvk_host::health::Pattern;
use clap::{Args, ValueHint};

use super::{Keep, VmOptions};

/// Boot an image, and say whether it is healthy
///
/// Waits until the system has settled, looks for what has gone wrong, and removes the VM. The exit
/// code is 1 if something has.
#[derive(Debug, Args)]
#[command(
    // These options would leave nothing to ask, and are errors.
    mut_arg("no_ssh_keygen", |arg| arg.hide(true)),
    mut_arg("execute", |arg| arg.hide(true)),
    // A check is of a boot: `require` is an error, and the others change nothing.
    mut_arg("warm", |arg| arg.hide(true)),
    after_help = "\
Examples:
  bcvk ephemeral check localhost/mybootc
  bcvk ephemeral check --allow 'missing-firmware:*' localhost/mybootc
  bcvk ephemeral check --junit check.xml --json localhost/mybootc"
)]
pub(crate) struct Check {
    /// Container image to check
    pub(crate) image: String,

    /// Do not count what is known; * and ? as in the shell
    ///
    /// PATTERN is for all of a finding's subject (`web.service`), of its text, or of its kind and
    /// subject (`failed-unit:web.service`, `missing-module:*`). What it matches is shown as allowed. A
    /// pattern that matches nothing gets a notice.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) allow: Vec<Pattern>,

    /// Limit for the system to settle
    ///
    /// It has settled when everything that starts with it has started or failed. The time counts from
    /// when the VM is ready. What has not ended by then is a fault.
    #[arg(long, default_value = "2m", value_name = "DURATION")]
    pub(crate) settle: Timeout,

    /// Print the verdict as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the verdict as JUnit XML, too
    ///
    /// A file that exists is replaced, in one step, once the image was checked.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) junit: Option<PathBuf>,

    /// Annotate the run of a GitHub workflow
    ///
    /// The default where `GITHUB_ACTIONS` is `true`. Annotations are on standard error; the file that
    /// `GITHUB_STEP_SUMMARY` names gets the text.
    #[arg(long)]
    pub(crate) github: bool,

    #[command(flatten)]
    pub(crate) keep: Keep,

    #[command(flatten)]
    pub(crate) vm: VmOptions,
}
