//! `-q`, which is another option before a command than behind it.

use std::ffi::OsString;

use clap::{Command, FromArgMatches};

use crate::cli::{self, Cli, Ids, ImagesVerb, Verb, habits};

/// Leaves a list's `-q` as it is only if it is the list's own: clap hands on the one before the command.
pub(super) fn settle(cli: &mut Cli, command: &Command, args: &[OsString]) {
    if let Some(ids) = cli.ids() {
        ids.alone = ids.alone && asks_for_ids(command, args);
    }
}

/// Returns true if the list itself has `-q`.
fn asks_for_ids(command: &Command, args: &[OsString]) -> bool {
    let own = habits::without_leading_options(args);
    let parsed = command.clone().try_get_matches_from(own);
    let cli = parsed.and_then(|matches| Cli::from_arg_matches(&matches));
    cli.is_ok_and(|mut cli| cli.ids().is_some_and(|ids| ids.alone))
}

impl Cli {
    /// Returns whether the list that is asked for is of IDs.
    fn ids(&mut self) -> Option<&mut Ids> {
        match &mut self.command {
            cli::Command::Ephemeral(ephemeral) => match &mut ephemeral.verb {
                Verb::Ps(ps) => Some(&mut ps.listing.ids),
                Verb::Snapshots(snapshots) => snapshots.ids(),
                _ => None,
            },
            cli::Command::Images(images) => match &mut images.verb {
                ImagesVerb::List(list) => Some(&mut list.listing.ids),
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Defaults;
    use super::*;

    #[test]
    fn quiet_before_the_command_is_not_the_lists() {
        for (line, expected) in [
            ("bcvk ps -q", true),
            ("bcvk ephemeral ps -aq", true),
            ("bcvk -q ephemeral ps", false),
            ("bcvk -q ps --quiet", true),
            ("bcvk images -q", true),
            ("bcvk images list -q", true),
            ("bcvk -q images", false),
            ("bcvk ephemeral -q snapshots ls", false),
            ("bcvk ephemeral snapshots ls -q", true),
        ] {
            let words = line.split(' ').map(OsString::from);
            let mut cli = Defaults::default().try_parse(words).expect(line);
            assert_eq!(cli.ids().map(|ids| ids.alone), Some(expected), "{line}");
            assert!(cli.quiet, "{line}");
        }
    }
}
