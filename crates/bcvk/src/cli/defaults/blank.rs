//! A size that stands behind its option after a blank, where it is taken for the image.

use std::ffi::OsString;

use bcvk_contract::spec::VarSize;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

/// Option whose size has to follow a `=`, because the option alone means something too.
const OPTION: &str = "--var-disk";

/// Returns what was parsed of `args`, unless a size was taken for the image.
pub(super) fn check(
    command: &Command,
    args: &[OsString],
    parsed: Result<ArgMatches, clap::Error>,
) -> Result<ArgMatches, clap::Error> {
    let Some(size) = size_after_blank(args) else {
        return parsed;
    };
    let is_mistaken = match &parsed {
        Ok(matches) => image(matches) == Some(size),
        Err(error) => error.kind() == ErrorKind::UnknownArgument,
    };
    if !is_mistaken {
        return parsed;
    }
    let mut error = clap::Error::new(ErrorKind::UnknownArgument).with_cmd(command);
    let argument = ContextValue::String(size.to_owned());
    let _ = error.insert(ContextKind::InvalidArg, argument);
    let tip = format!("a size follows {OPTION} after a '=': '{OPTION}={size}'");
    let _ = error.insert(
        ContextKind::Suggested,
        ContextValue::StyledStrs(vec![tip.into()]),
    );
    Err(error)
}

fn size_after_blank(args: &[OsString]) -> Option<&str> {
    let options = args.split(|word| word == "--").next()?;
    let mut pairs = options.windows(2);
    let pair = pairs.find(|pair| pair[0] == OPTION)?;
    let word = pair[1].to_str()?;
    word.parse::<VarSize>().is_ok().then_some(word)
}

/// Returns the image of a verb that has one.
fn image(matches: &ArgMatches) -> Option<&str> {
    let (_, ephemeral) = matches.subcommand()?;
    let (_, verb) = ephemeral.subcommand()?;
    let image = verb.try_get_one::<String>("image").ok()??;
    Some(image)
}

#[cfg(test)]
mod tests {
    use super::super::Defaults;
    use super::*;

    #[test]
    fn a_size_after_a_blank_is_told_from_an_image() {
        for (args, mistaken) in [
            (&["run", "--var-disk", "20G", "image"][..], true),
            (&["run-ssh", "--var-disk", "20G", "image", "true"], true),
            (&["run", "--var-disk", "20G"], true),
            (&["run", "--var-disk", "image"], false),
            (&["run", "--var-disk=20G", "image"], false),
            (&["run-ssh", "image", "--", "x", "--var-disk", "20G"], false),
            (&["run-ssh", "image", "x", "--var-disk", "20G"], false),
        ] {
            let words = ["bcvk", "ephemeral"].iter().chain(args);
            let parsed = Defaults::default().try_parse(words.map(OsString::from));
            let text = parsed.err().map(|error| error.to_string());
            let tip = "tip: a size follows --var-disk after a '=': '--var-disk=20G'";
            match text {
                Some(text) => assert!(mistaken && text.contains(tip), "{args:?}: {text}"),
                None => assert!(!mistaken, "{args:?}"),
            }
        }
    }
}
