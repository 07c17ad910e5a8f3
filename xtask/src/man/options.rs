//! Lists of what the program knows → Markdown, as `docs/man` has it.

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Command};

/// Name of the command that all others are below.
pub(super) const ROOT: &str = "bcvk";

/// Length of the longest line.
const WIDTH: usize = 80;

/// Indentation of the further lines of a definition.
const INDENT: &str = "    ";

/// Lists the options of a command, and under headings those of the commands below it, which have no
/// pages of their own. An option that the page of `reference` describes gets one line.
pub(super) fn options(command: &Command, reference: Option<&Command>) -> String {
    let own = |arg: &Arg| !reference.is_some_and(|other| describes(other, arg));
    let all = |arg: &Arg| description(arg, true);
    let mut sections = vec![(None, list(command, None, own, all))];
    for heading in headings(command) {
        sections.push((Some(heading), list(command, Some(heading), own, all)));
    }
    for below in visible(command) {
        sections.push((Some(below.get_name()), list(below, None, own, all)));
    }
    // If there is one list only, these options end it.
    let everywhere = (sections.len() > 1).then_some("Everywhere");
    let elsewhere = reference.map(|other| elsewhere(command, other));
    sections.push((None, elsewhere.unwrap_or_default()));
    sections.push((everywhere, everywhere_options(command)));
    join(sections.into_iter().map(|(heading, text)| match heading {
        Some(heading) if !text.is_empty() => format!("## {heading}\n\n{text}"),
        _ => text,
    }))
}

/// Returns true if the page of `other` says all that there is to say of another command's option.
fn describes(other: &Command, arg: &Arg) -> bool {
    let same =
        |own: &Arg| term(own) == term(arg) && description(own, true) == description(arg, true);
    !arg.is_positional() && shown(other).any(same)
}

/// Lists the options that another page describes, each with one line.
fn elsewhere(command: &Command, reference: &Command) -> String {
    let described = |arg: &Arg| describes(reference, arg);
    let line = |arg: &Arg| description(arg, false);
    let headings = std::iter::once(None).chain(headings(command).into_iter().map(Some));
    let lists = join(headings.map(|heading| list(command, heading, described, line)));
    let page = reference.get_display_name().unwrap_or_default();
    match lists.as_str() {
        "" => lists,
        _ => {
            format!("## Options of {page}(8)\n\n**{page}**(8) describes these in full:\n\n{lists}")
        }
    }
}

/// Lists the commands below one, with their pages.
pub(super) fn subcommands(command: &Command, page: &str) -> String {
    join(visible(command).map(|below| {
        let about = below.get_about().map(ToString::to_string);
        let name = format!("{page}-{}(8)", below.get_name());
        definition(&name, &about.unwrap_or_default())
    }))
}

/// Lists the options that can be settings, with their variables.
pub(super) fn keys(settings: &[(String, Arg)]) -> String {
    join(settings.iter().map(|(variable, option)| {
        let name = option.get_long().unwrap_or_default();
        let value = value(option).unwrap_or_default();
        let value = if takes_many(option) {
            format!("[{value}, ...]")
        } else {
            value
        };
        let term = format!("**{name}** = {value}, `{variable}`");
        definition(&term, &description(option, false))
    }))
}

/// Returns the commands below one that users see; `help` is left out, because nothing describes it.
pub(super) fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    let below = command.get_subcommands();
    below.filter(|c| !c.is_hide_set() && c.get_name() != "help")
}

/// Returns the headings of a command's options, in the order of the program's help.
fn headings(command: &Command) -> Vec<&str> {
    let mut headings = Vec::new();
    for heading in shown(command).filter_map(Arg::get_help_heading) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings
}

/// Lists those options under a heading that `wanted` is true for.
fn list(
    command: &Command,
    heading: Option<&str>,
    wanted: impl Fn(&Arg) -> bool,
    text: impl Fn(&Arg) -> String,
) -> String {
    let own = shown(command).filter(|arg| !is_everywhere(arg) && wanted(arg));
    let under = own.filter(|arg| arg.get_help_heading() == heading);
    join(under.map(|arg| definition(&term(arg), &text(arg))))
}

/// Lists the options that every command has; the page of bcvk describes them. A command that hands
/// its options on, such as ssh, has none.
fn everywhere_options(command: &Command) -> String {
    let any = !command.is_disable_help_flag_set();
    let shown = shown(command).filter(|arg| any && is_everywhere(arg));
    if command.get_name() != ROOT {
        let terms: Vec<String> = shown.map(term).collect();
        return match terms.as_slice() {
            [] => String::new(),
            terms => definition(&terms.join(", "), &format!("See **{ROOT}**(8)")),
        };
    }
    join(shown.map(|arg| match arg.get_id().as_str() {
        // clap's text is about the help itself here.
        "help" => definition(&term(arg), "Print help"),
        _ => definition(&term(arg), &description(arg, true)),
    }))
}

fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set())
}

fn is_everywhere(arg: &Arg) -> bool {
    arg.is_global_set() || matches!(arg.get_id().as_str(), "help" | "version")
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Writes an option as it is typed.
fn term(arg: &Arg) -> String {
    let names = [
        arg.get_short().map(|short| format!("**-{short}**")),
        arg.get_long().map(|long| format!("**--{long}**")),
    ];
    let names: Vec<String> = names.into_iter().flatten().collect();
    if arg.is_require_equals_set() {
        return format!("{}[={}]", names.join(", "), value(arg).unwrap_or_default());
    }
    let words = [Some(names.join(", ")), value(arg)];
    let words: Vec<String> = words
        .into_iter()
        .flatten()
        .filter(|w| !w.is_empty())
        .collect();
    words.join(" ")
}

/// Marks up the names in a value: `HOST[:NAME]` is `*HOST*[:*NAME*]`.
fn value(arg: &Arg) -> Option<String> {
    if !arg.get_action().takes_values() {
        return None;
    }
    let name = match arg.get_value_names() {
        Some([name, ..]) => name.to_string(),
        _ => arg.get_id().as_str().to_uppercase(),
    };
    let mut text = String::new();
    let mut in_word = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() != in_word {
            text.push('*');
            in_word = !in_word;
        }
        text.push(c);
    }
    text.push_str(if in_word { "*" } else { "" });
    let many = arg.is_positional() && takes_many(arg);
    text.push_str(if many { "..." } else { "" });
    Some(text)
}

/// Returns all that the program's source says of an option, or its first sentence.
fn description(arg: &Arg, whole: bool) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let (short, said) = default(arg, &help);
    let long = arg.get_long_help().map(ToString::to_string);
    let more = long.as_deref().filter(|_| whole).unwrap_or_default();
    let more = more.strip_prefix(help.as_str()).unwrap_or(more).trim();
    let mut sentences = vec![short.to_owned()];
    let (first, further) = more.split_once("\n\n").unwrap_or((more, ""));
    sentences.push(first.to_owned());
    sentences.extend(one_of(arg).filter(|_| whole));
    let many = !arg.is_positional() && takes_many(arg);
    if whole && many && !more.contains("several times") {
        sentences.push("May be given several times".to_owned());
    }
    let default = said.map(|said| format!("Default: {said}"));
    if further.is_empty() {
        sentences.extend(default);
        return sentence(&sentences);
    }
    let mut paragraphs = vec![sentence(&sentences)];
    paragraphs.extend(further.split("\n\n").map(str::to_owned));
    paragraphs.extend(default);
    paragraphs.join("\n\n")
}

/// Lists the words that an argument has to be one of, if they have descriptions. Others are in its
/// help.
fn one_of(arg: &Arg) -> Option<String> {
    let values = arg.get_possible_values();
    let described =
        |value: &PossibleValue| Some(format!("{} ({})", value.get_name(), value.get_help()?));
    let values: Vec<String> = values.iter().filter_map(described).collect();
    let (last, others) = values.split_last()?;
    Some(format!("One of {} or {last}", others.join(", ")))
}

/// Splits the text into the part without a default that is described in it, and the default.
fn default<'a>(arg: &'a Arg, help: &'a str) -> (&'a str, Option<String>) {
    let described = help
        .split_once(" [default: ")
        .and_then(|(text, rest)| Some((text, rest.strip_suffix(']')?)));
    let built_in = arg.get_default_values().first();
    let built_in = built_in.filter(|_| value(arg).is_some());
    match (described, built_in) {
        (_, Some(value)) => {
            // A new version of bcvk does not make a page out of date.
            let value = value.to_string_lossy();
            (
                help,
                Some(value.replace(env!("CARGO_PKG_VERSION"), "VERSION")),
            )
        }
        (Some((text, said)), None) => (text, Some(said.to_owned())),
        (None, None) => (help, None),
    }
}

/// Joins the parts to one paragraph, without a full stop at its end.
fn sentence(parts: &[String]) -> String {
    let parts = parts.iter().map(|part| part.trim_end_matches('.'));
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join(". ")
}

fn definition(term: &str, text: &str) -> String {
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|text| wrapped(&bold(text)))
        .collect();
    format!(
        "{term}\n\n:   {}",
        paragraphs.join(&format!("\n\n{INDENT}"))
    )
}

/// Makes options bold where the source has them as they are.
fn bold(text: &str) -> String {
    let mut in_code = false;
    let words = text.split(' ').map(|word| {
        let plain = !in_code && !word.contains('`');
        in_code ^= word.matches('`').count() % 2 == 1;
        let name = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if plain && name.starts_with("--") && name.len() > 2 {
            word.replacen(name, &format!("**{name}**"), 1)
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Wraps text into lines of at most [`WIDTH`], the further ones moved in.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = INDENT.len();
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > INDENT.len() && width + 1 + length > WIDTH {
            lines.push('\n');
            lines.push_str(INDENT);
            width = INDENT.len();
        } else if width > INDENT.len() {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines
}

fn join(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_all_that_is_said_of_an_option() {
        let mut command = Command::new("vm")
            .arg(Arg::new("image").help("Image to boot"))
            .arg(
                Arg::new("bind")
                    .long("bind")
                    .value_name("HOST[:NAME]")
                    .action(ArgAction::Append)
                    .help("Share a directory")
                    .long_help(
                        "Share a directory\n\nNot with --rm or `ls --all x`. It is at a place in the \
                         VM that has its name, and may be written.\n\nMore.",
                    ),
            )
            .arg(
                Arg::new("size")
                    .short('s')
                    .long("size")
                    .default_value("4G")
                    .help("How large")
                    .long_help("How large\n\nA plain number is MiB.")
                    .help_heading("Machine"),
            )
            .arg(Arg::new("cpus").long("cpus").help("How many [default: all]"))
            .arg(Arg::new("secret").long("secret").hide(true));
        command.build();
        assert_eq!(options(&command, None), WHOLE);
    }

    #[test]
    fn another_page_describes_what_it_says_too() {
        let size = |help: &'static str| {
            let long = format!("{help}\n\nA plain number is MiB.");
            Arg::new("size")
                .long("size")
                .default_value("4G")
                .help(help)
                .long_help(long)
        };
        let mut run = Command::new("run")
            .arg(Arg::new("image").help("Image"))
            .arg(size("Size"));
        let mut same = Command::new("ssh")
            .arg(Arg::new("image").help("Image"))
            .arg(size("Size"));
        let mut other = Command::new("pod").arg(size("Size of a Pod"));
        for command in [&mut run, &mut same, &mut other] {
            *command = std::mem::take(command).disable_help_flag(true);
            command.build();
        }
        let run = run.display_name("vm-run");
        let reference = Some(&run);
        let expected = "\
*IMAGE*

:   Image

## Options of vm-run(8)

**vm-run**(8) describes these in full:

**--size** *SIZE*

:   Size. Default: 4G";
        assert_eq!(options(&same, reference), expected);
        let expected = "**--size** *SIZE*\n\n:   Size of a Pod. A plain number is MiB. Default: 4G";
        assert_eq!(options(&other, reference), expected);
    }

    const WHOLE: &str = "\
*IMAGE*

:   Image to boot

**--bind** *HOST*[:*NAME*]

:   Share a directory. Not with **--rm** or `ls --all x`. It is at a place in
    the VM that has its name, and may be written. May be given several times

    More.

**--cpus** *CPUS*

:   How many. Default: all

## Machine

**-s**, **--size** *SIZE*

:   How large. A plain number is MiB. Default: 4G

## Everywhere

**-h**, **--help**

:   See **bcvk**(8)";
}
