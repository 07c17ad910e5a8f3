//! Parts of the manual's pages that are generated from the program.

use clap::Command;

use super::Page;
use super::options::{ROOT, keys, options, subcommands, visible};

/// A page that does not fit the program.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// A command nobody has described.
    #[error("docs/man/{0}.8.md is missing: CONTRIBUTING.md says how to write it")]
    Missing(String),
    /// A page without a command.
    #[error("docs/man/{0} is about no command of bcvk's")]
    Nothing(String),
    /// A page without the marks.
    #[error(
        "{page} lacks the marks <!-- BEGIN GENERATED {what} --> and <!-- END GENERATED {what} -->"
    )]
    Unmarked { page: String, what: &'static str },
    /// A page that calls its command something else.
    #[error("{page} has to begin with '# NAME' and '{line}'")]
    Name { page: String, line: String },
}

/// The page of the configuration file, which no command is about.
const CONFIG: &str = "bcvk-config";

/// The page that describes the options of a VM in full.
const VM: &str = "bcvk-ephemeral-run";

/// Returns every page as it has to be, in the order of `pages`.
pub(super) fn written_anew(pages: &[Page]) -> Result<Vec<String>, Unfit> {
    let mut root = bcvk::described();
    root.build();
    let mut commands = Vec::new();
    with_pages(&root, ROOT, &mut commands);
    let vm = commands.iter().find(|(name, _)| name == VM);
    let vm = vm.map(|(_, command)| *command);
    if let Some((missing, _)) = commands
        .iter()
        .find(|(name, _)| !pages.iter().any(|page| page.name == *name))
    {
        return Err(Unfit::Missing(missing.clone()));
    }
    let page_anew = |page: &Page| {
        if page.name == CONFIG {
            return replace(page, &page.text, "KEYS", &keys(&bcvk::settings()));
        }
        let command = commands.iter().find(|(name, _)| *name == page.name);
        let Some((name, command)) = command else {
            return Err(Unfit::Nothing(page.file()));
        };
        check_name(page, command)?;
        let text = replace(page, &page.text, "OPTIONS", &options_of(name, command, vm))?;
        if below_have_pages(name) {
            replace(page, &text, "SUBCOMMANDS", &subcommands(command, name))
        } else {
            Ok(text)
        }
    };
    pages.iter().map(page_anew).collect()
}

/// Finds the commands and verbs that have pages. The subcommands of a verb are on the verb's page.
pub(super) fn with_pages<'a>(
    command: &'a Command,
    name: &str,
    found: &mut Vec<(String, &'a Command)>,
) {
    found.push((name.to_owned(), command));
    if below_have_pages(name) {
        for below in visible(command) {
            with_pages(below, &format!("{name}-{}", below.get_name()), found);
        }
    }
}

fn below_have_pages(name: &str) -> bool {
    matches!(name, "bcvk" | "bcvk-ephemeral")
}

fn options_of(name: &str, command: &Command, vm: Option<&Command>) -> String {
    if below_have_pages(name) {
        let alone = command.clone().mut_subcommands(|below| below.hide(true));
        options(&alone, None)
    } else {
        options(command, vm.filter(|_| name != VM))
    }
}

fn check_name(page: &Page, command: &Command) -> Result<(), Unfit> {
    let about = command.get_about().map(ToString::to_string);
    let line = format!("{} - {}", page.name, about.unwrap_or_default());
    if page.text.starts_with(&format!("# NAME\n\n{line}\n")) {
        return Ok(());
    }
    let page = page.file();
    Err(Unfit::Name { page, line })
}

/// Returns `text` with `content` between its marks.
fn replace(page: &Page, text: &str, what: &'static str, content: &str) -> Result<String, Unfit> {
    let begin = format!("<!-- BEGIN GENERATED {what} -->\n");
    let end = format!("<!-- END GENERATED {what} -->\n");
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        let page = page.file();
        return Err(Unfit::Unmarked { page, what });
    };
    let content = if content.is_empty() {
        String::new()
    } else {
        format!("\n{content}\n\n")
    };
    Ok(format!("{before}{begin}{content}{end}{after}"))
}
