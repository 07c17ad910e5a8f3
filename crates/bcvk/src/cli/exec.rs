//! `exec`, `top` and `port`: podman's ways to look into what runs.

use std::fmt;
use std::str::FromStr;

use bcvk_contract::spec::Protocol;
use clap::Args;

use super::Ssh;
use super::common::VmRef;

/// Run a command in an ephemeral VM, as podman exec does
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral exec -it testvm bash
  bcvk ephemeral exec testvm systemctl --failed
  bcvk ephemeral exec -i testvm tar -x -C /srv <files.tar")]
pub(crate) struct Exec {
    /// Pass standard input on
    ///
    /// Without it and without **-t**, the command has no standard input.
    #[arg(short, long)]
    pub(crate) interactive: bool,

    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,

    /// Log in as this user of the image instead of root
    #[arg(short, long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    #[command(flatten)]
    pub(crate) vm: VmRef,

    /// Command and its arguments; without it, a shell
    ///
    /// A single word is a command for the guest's shell; several words arrive unchanged.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub(crate) command: Vec<String>,
}

impl Exec {
    /// Returns the session that is meant.
    pub(crate) fn session(&self) -> Ssh {
        let mut words = Vec::new();
        if self.tty {
            // Twice, so that it is one even where standard input is none.
            words.push("-tt".to_owned());
        }
        if !self.interactive && !self.tty && !self.command.is_empty() {
            words.push("-n".to_owned());
        }
        if let Some(user) = &self.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        words.push(self.vm.name.clone());
        if !self.command.is_empty() {
            words.push("--".to_owned());
            words.extend(self.command.iter().cloned());
        }
        Ssh::from_words(words)
    }
}

/// Show the processes of an ephemeral VM
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral top testvm
  bcvk ephemeral top testvm pid user args
  bcvk ephemeral top testvm -eo pid,rss,comm --sort -rss")]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) vm: VmRef,

    /// Columns, or options of the guest's ps
    ///
    /// Columns are named as **ps**(1) has them, such as pid, user, etime, rss or args. Without any, it is
    /// **ps -ef**.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COLUMN"
    )]
    pub(crate) columns: Vec<String>,
}

impl Top {
    /// Returns the session that is meant.
    pub(crate) fn session(&self) -> Ssh {
        let mut words: Vec<String> = ["-T", "-n", &self.vm.name, "--", "ps"]
            .map(Into::into)
            .into();
        match self.columns.first() {
            None => words.push("-ef".to_owned()),
            Some(first) if first.starts_with('-') => words.extend(self.columns.iter().cloned()),
            Some(_) => words.extend(["-eo".to_owned(), self.columns.join(",")]),
        }
        Ssh::from_words(words)
    }
}

/// Show which ports of the host lead into an ephemeral VM
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral port testvm
  bcvk ephemeral port testvm 80
  bcvk ephemeral port testvm 53/udp")]
pub(crate) struct Port {
    #[command(flatten)]
    pub(crate) vm: VmRef,

    /// Port of the VM, with /udp if it is one
    ///
    /// Only where it is reached from is printed then.
    #[arg(value_name = "PORT")]
    pub(crate) port: Option<GuestPortRef>,
}

/// A port of the guest's, as the user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GuestPortRef {
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

/// A port that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no port: give a number from 1 to 65535, and /tcp or /udp after it if need be")]
pub(crate) struct PortError(String);

impl FromStr for GuestPortRef {
    type Err = PortError;

    fn from_str(value: &str) -> Result<Self, PortError> {
        let error = || PortError(value.to_owned());
        let (port, protocol) = value
            .split_once('/')
            .unwrap_or((value, Protocol::Tcp.name()));
        let port = port.parse().ok().filter(|port| *port > 0);
        Ok(Self {
            port: port.ok_or_else(error)?,
            protocol: protocol.parse().map_err(|_| error())?,
        })
    }
}

/// Writes it as podman does.
impl fmt::Display for GuestPortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol.name())
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn parse<T: Args>(words: &[&str]) -> T {
        let command = T::augment_args(Command::new("bcvk").no_binary_name(true));
        T::from_arg_matches(&command.get_matches_from(words)).expect("a command line")
    }

    type Sorted = (Vec<String>, String, Vec<String>);

    fn sorted(ssh: &Ssh) -> Sorted {
        let words = ssh.sort().expect("a VM's name");
        (words.options, words.name, words.command)
    }

    fn expected(options: &[&str], command: &[&str]) -> Sorted {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        (owned(options), "vm".to_owned(), owned(command))
    }

    #[test]
    fn exec_is_a_session() {
        for (words, options, command) in [
            (&["vm"][..], &[][..], &[][..]),
            (&["-it", "vm", "bash"], &["-tt"], &["bash"]),
            (&["vm", "ls", "-l"], &["-n"], &["ls", "-l"]),
            (&["-i", "vm", "tar", "-x"], &[], &["tar", "-x"]),
            (&["-u", "me", "vm", "id"], &["-n", "-l", "me"], &["id"]),
        ] {
            let session = parse::<Exec>(words).session();
            assert_eq!(sorted(&session), expected(options, command), "{words:?}");
        }
    }

    #[test]
    fn top_is_ps() {
        for (words, command) in [
            (&["vm"][..], &["ps", "-ef"][..]),
            (&["vm", "pid", "args"], &["ps", "-eo", "pid,args"]),
            (&["vm", "-e", "--forest"], &["ps", "-e", "--forest"]),
        ] {
            let session = parse::<Top>(words).session();
            assert_eq!(
                sorted(&session),
                expected(&["-T", "-n"], command),
                "{words:?}"
            );
        }
    }

    #[test]
    fn ports_have_a_protocol() {
        for (value, shown) in [("80", "80/tcp"), ("80/tcp", "80/tcp"), ("53/udp", "53/udp")] {
            let port: GuestPortRef = value.parse().expect(value);
            assert_eq!(port.to_string(), shown);
        }
        for value in ["", "0", "http", "80/sctp", "70000"] {
            assert_eq!(
                value.parse::<GuestPortRef>(),
                Err(PortError(value.to_owned()))
            );
        }
    }
}
