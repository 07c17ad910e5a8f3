//! `ssh`, which takes what OpenSSH takes.

use clap::Args;

/// SSH into a running ephemeral VM
#[derive(Debug, Args)]
#[command(
    override_usage = "bcvk ephemeral ssh [SSH-OPTIONS] [USER@]NAME [CMD...]",
    after_help = "\
Examples:
  bcvk ephemeral ssh testvm
  bcvk ephemeral ssh testvm 'systemctl status'
  bcvk ephemeral ssh -N -L 8080:localhost:80 testvm"
)]
pub(crate) struct Ssh {
    /// OpenSSH's options, the VM's name or ID, and a command
    ///
    /// The options are those of **ssh**(1), such as **-L**, **-R**, **-N**, **-t**, **-v** or **-o**;
    /// they stand before or after the name. At least the first four digits of a container's ID are
    /// enough. The command runs in the VM instead of a shell; `--` before it ends the options. Another
    /// user of the image than root logs in as `USER@NAME`, with the same key.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "NAME"
    )]
    words: Vec<String>,
}

/// The words of an `ssh` command line, sorted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SshWords {
    /// Options for OpenSSH, with their values.
    pub(crate) options: Vec<String>,
    /// Name of the VM.
    pub(crate) name: String,
    /// Command to run in the VM.
    pub(crate) command: Vec<String>,
}

/// Options of `ssh(1)` that take a value.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";

impl Ssh {
    /// A command line with these words, which need not be all.
    pub(crate) fn from_words(words: Vec<String>) -> Self {
        Self { words }
    }

    /// Returns true if the user only asks how this works.
    pub(crate) fn asks_for_help(&self) -> bool {
        matches!(
            self.words.first().map(String::as_str),
            Some("-h" | "--help")
        )
    }

    /// Sorts the words as OpenSSH does: options stand before the name or right after it. A `--`
    /// ends them.
    pub(crate) fn sort(&self) -> Option<SshWords> {
        let mut words = self.words.iter().cloned();
        let mut options = Vec::new();
        let mut name = None;
        let mut command = Vec::new();
        while let Some(word) = words.next() {
            if word == "--" {
                if name.is_some() {
                    command.extend(words);
                    break;
                }
                continue;
            }
            let Some(letters) = word.strip_prefix('-').filter(|l| !l.is_empty()) else {
                if name.is_none() {
                    name = Some(word);
                    continue;
                }
                command.push(word);
                command.extend(words);
                break;
            };
            // The value is the rest of the word, or the next one.
            let value_follows = letters
                .find(|c| WITH_VALUE.contains(c))
                .is_some_and(|at| at + 1 == letters.len());
            options.push(word);
            if value_follows {
                options.extend(words.next());
            }
        }
        // No VM's name has an `@`.
        let name = name?;
        let name = match name.rsplit_once('@') {
            Some((user, name)) => {
                options.extend(["-l".to_owned(), user.to_owned()]);
                name.to_owned()
            }
            None => name,
        };
        Some(SshWords {
            options,
            name,
            command,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(words: &[&str]) -> Option<(Vec<String>, String, Vec<String>)> {
        let ssh = Ssh::from_words(words.iter().map(|w| (*w).to_owned()).collect());
        ssh.sort().map(|s| (s.options, s.name, s.command))
    }

    #[test]
    fn words_are_sorted_as_openssh_does() {
        for (words, options, name, command) in [
            (&["vm"][..], &[][..], "vm", &[][..]),
            (&["vm", "ls", "-l"], &[], "vm", &["ls", "-l"]),
            (&["-v", "vm", "-t", "top"], &["-v", "-t"], "vm", &["top"]),
            (
                &["-L", "1:h:2", "-N", "vm"],
                &["-L", "1:h:2", "-N"],
                "vm",
                &[],
            ),
            (&["-L1:h:2", "vm"], &["-L1:h:2"], "vm", &[]),
            (&["-vNL", "1:h:2", "vm"], &["-vNL", "1:h:2"], "vm", &[]),
            (&["-v", "me@vm", "id"], &["-v", "-l", "me"], "vm", &["id"]),
            (
                &["vm", "-o", "User=x", "--", "-x"],
                &["-o", "User=x"],
                "vm",
                &["-x"],
            ),
            (
                &["vm", "--", "sh", "-c", "exit 7"],
                &[],
                "vm",
                &["sh", "-c", "exit 7"],
            ),
        ] {
            let expected = (
                options.iter().map(|s| (*s).to_owned()).collect(),
                name.to_owned(),
                command.iter().map(|s| (*s).to_owned()).collect(),
            );
            assert_eq!(sort(words), Some(expected), "{words:?}");
        }
        assert_eq!(sort(&["-v"]), None);
    }
}
