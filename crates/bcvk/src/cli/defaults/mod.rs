//! Defaults of a VM's options that are not built in: from the environment and from `config.toml`.
//! Pure: the caller reads both.
//!
//! There is no list of settings: every option of [`super::VmOptions`] with a value is one, named as the
//! option is, and is checked by the option's own parser.

mod blank;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod ids;
mod settings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, FromArgMatches};
use toml::de::DeTable;

pub use settings::settings;

use super::{Cli, GuestOptions, Output, Verb, habits};
use settings::{check, check_all, find, settable, takes_many, values, variable, word};

/// Name of the one table of `config.toml`: the command whose options it is about.
const TABLE: &str = "ephemeral";

/// Values that stand in for options which the command line does not give.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    /// Settings by the name of the option.
    settings: BTreeMap<String, Setting>,
}

#[derive(Debug, PartialEq, Eq)]
struct Setting {
    values: Vec<String>,
    rank: Rank,
}

/// Source of a value; the highest one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    BuiltIn,
    ConfigFile,
    Environment,
    CommandLine,
}

/// A setting that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingError {
    /// File and line, or the name of the variable.
    pub(crate) place: String,
    /// Description of the mistake and of what would be right.
    pub(crate) problem: String,
}

impl Defaults {
    /// Reads `config.toml`; `path` is for errors.
    pub(crate) fn from_config(path: &Path, text: &str) -> Result<Self, SettingError> {
        let at = |offset: usize, problem: String| SettingError {
            place: format!("{}, line {}", path.display(), line_of(text, offset)),
            problem,
        };
        let document = DeTable::parse(text).map_err(|e| {
            let span = e.span().unwrap_or_default();
            let what = text.get(span.clone()).unwrap_or_default().trim();
            let problem = if what.is_empty() || what.contains('\n') {
                e.message().to_owned()
            } else {
                format!("{} at '{what}'", e.message())
            };
            at(span.start, problem)
        })?;
        let mut defaults = Self::default();
        for (key, value) in document.get_ref() {
            let name = key.get_ref();
            let table = value.get_ref().as_table().filter(|_| name == TABLE);
            let Some(table) = table else {
                let problem = format!("'{name}' is not known here: options stand under [{TABLE}]");
                return Err(at(key.span().start, problem));
            };
            for (key, value) in table {
                let name = key.get_ref();
                let option = find(name).map_err(|problem| at(key.span().start, problem))?;
                let mut words = Vec::new();
                for value in values(&option, value) {
                    let word = word(value.get_ref())
                        .and_then(|word| check(name, &word).map(|()| word))
                        .map_err(|problem| at(value.span().start, format!("{name}: {problem}")))?;
                    words.push(word);
                }
                defaults.set(name, words, Rank::ConfigFile);
            }
        }
        Ok(defaults)
    }

    /// Adds the settings from the environment. An empty variable sets nothing.
    pub(crate) fn add_environment(
        &mut self,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<(), SettingError> {
        for option in settable() {
            let Some(name) = option.get_long() else {
                continue;
            };
            let variable = variable(name);
            let Some(value) = lookup(&variable).filter(|value| !value.is_empty()) else {
                continue;
            };
            let values = if takes_many(&option) {
                shlex::split(&value).ok_or_else(|| "a quote in it is not closed".to_owned())
            } else {
                Ok(vec![value])
            };
            let values = values
                .and_then(|values| check_all(name, values))
                .map_err(|problem| SettingError {
                    place: format!("environment variable {variable}"),
                    problem,
                })?;
            self.set(name, values, Rank::Environment);
        }
        Ok(())
    }

    /// Parses a command line over these defaults. Ends the process where clap does.
    pub(crate) fn parse(&self, args: impl IntoIterator<Item = OsString>) -> Cli {
        self.try_parse(args).unwrap_or_else(|e| e.exit())
    }

    /// Parses a command line over these defaults.
    pub(super) fn try_parse(
        &self,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<Cli, clap::Error> {
        let with_defaults = |verb: Command| {
            verb.mut_args(|arg| {
                let setting = arg.get_long().and_then(|name| self.settings.get(name));
                match setting {
                    Some(setting) => arg.default_values(setting.values.clone()),
                    None => arg,
                }
            })
        };
        let command = super::command().mut_subcommand("ephemeral", |ephemeral| {
            ephemeral
                .mut_subcommand("run", with_defaults)
                .mut_subcommand("run-ssh", with_defaults)
                .mut_subcommand("check", with_defaults)
                .mut_subcommand("kube", with_defaults)
                .mut_subcommand("boot-chart", with_defaults)
        });
        let args = habits::whole(&command, args.into_iter().collect());
        let parsed = command.clone().try_get_matches_from(&args);
        let parsed = parsed.map_err(|error| habits::explain(&command, &args, error));
        let matches = blank::check(&command, &args, parsed)?;
        let mut cli = Cli::from_arg_matches(&matches)?;
        ids::settle(&mut cli, &command, &args);
        let verb = matches.subcommand().and_then(|(_, m)| m.subcommand());
        let has_room_for_events = cli.has_room_for_events();
        if let (Some(guest), Some((_, matches))) = (cli.guest_options(), verb) {
            self.settle_size(guest, matches);
            self.settle_var(guest, matches);
            let asked = matches.value_source("output") == Some(ValueSource::CommandLine);
            if guest.output == Some(Output::Events) && !asked && !has_room_for_events {
                guest.output = None;
            }
        }
        Ok(cli)
    }

    /// Lets an instance type override memory and processors, but not those of a higher rank.
    fn settle_size(&self, guest: &mut GuestOptions, matches: &ArgMatches) {
        let Some(itype) = guest.itype else { return };
        let [own, memory, vcpus] =
            ["itype", "memory", "vcpus"].map(|name| self.rank(name, matches));
        if memory <= own && vcpus <= own {
            return;
        }
        if memory <= own {
            guest.memory = itype.memory();
        }
        if vcpus <= own {
            guest.vcpus = Some(itype.vcpus());
        }
        guest.itype = None;
    }

    /// Lets the place of `/var` that was asked for more closely stand.
    fn settle_var(&self, guest: &mut GuestOptions, matches: &ArgMatches) {
        if guest.var_size.is_none() || guest.var_disk.is_none() {
            return;
        }
        let [memory, disk] = ["var-size", "var-disk"].map(|name| self.rank(name, matches));
        if memory < disk {
            guest.var_size = None;
        } else if disk < memory {
            guest.var_disk = None;
        }
    }

    /// Returns where the value of an option has come from.
    fn rank(&self, name: &str, matches: &ArgMatches) -> Rank {
        match matches.value_source(&name.replace('-', "_")) {
            Some(ValueSource::CommandLine) => Rank::CommandLine,
            _ => self.settings.get(name).map_or(Rank::BuiltIn, |s| s.rank),
        }
    }

    fn set(&mut self, name: &str, values: Vec<String>, rank: Rank) {
        self.settings
            .insert(name.to_owned(), Setting { values, rank });
    }
}

impl Cli {
    /// Returns the options of the VM that this command line is about.
    pub(crate) fn guest_options(&mut self) -> Option<&mut GuestOptions> {
        match &mut self.command {
            super::Command::Ephemeral(ephemeral) => match &mut ephemeral.verb {
                Verb::Run(run) => Some(&mut run.vm.guest),
                Verb::RunSsh(run) => Some(&mut run.vm.guest),
                Verb::Check(check) => Some(&mut check.vm.guest),
                Verb::Kube(kube) => Some(&mut kube.guest),
                Verb::BootChart(chart) => Some(&mut chart.options.guest),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns true if nothing else that this command line asks for needs standard output.
    fn has_room_for_events(&self) -> bool {
        match &self.command {
            super::Command::Ephemeral(ephemeral) => match &ephemeral.verb {
                Verb::Run(run) => run.has_room_for_events() && !run.vm.console,
                _ => false,
            },
            _ => false,
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use bcvk_contract::spec::{Choice, InstanceType};

    use super::settings::options;
    use super::*;
    use crate::cli::VmOptions;

    fn config(text: &str) -> Result<Defaults, SettingError> {
        Defaults::from_config(Path::new("config.toml"), text)
    }

    /// Returns the options that a VM would be started with.
    fn settled(text: &str, env: &[(&str, &str)], args: &[&str]) -> VmOptions {
        let mut defaults = config(text).expect("a configuration");
        let lookup = |name: &str| {
            let found = env.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        defaults.add_environment(lookup).expect("an environment");
        let words = ["bcvk", "ephemeral", "run", "image"].iter().chain(args);
        let mut cli = defaults
            .try_parse(words.map(OsString::from))
            .expect("a command line");
        let super::super::Command::Ephemeral(ephemeral) = &mut cli.command else {
            panic!("not ephemeral");
        };
        let Verb::Run(run) = &mut ephemeral.verb else {
            panic!("not run");
        };
        std::mem::replace(&mut run.vm, empty())
    }

    fn empty() -> VmOptions {
        VmOptions::from_arg_matches(&options().get_matches_from(Vec::<OsString>::new()))
            .expect("no option is required")
    }

    #[test]
    fn the_command_line_counts_more_than_the_environment_than_the_file() {
        let file = "[ephemeral]\nmemory = \"1G\"\nvcpus = 3\nkarg = [\"quiet\", \"a=b c\"]\n"
            .replace("a=b c", "a=\\\"b c\\\"");
        let env = [
            ("BCVK_MEMORY", "2G"),
            ("BCVK_TIMEOUT", "7s"),
            ("BCVK_VCPUS", ""),
        ];
        let vm = settled(&file, &env, &[]);
        assert_eq!(vm.guest.memory.mib(), 2048);
        assert_eq!(vm.guest.vcpus, Some(3), "an empty variable says nothing");
        assert_eq!(vm.timeout.to_string(), "7s");
        let kargs: Vec<_> = vm
            .guest
            .karg
            .iter()
            .map(bcvk_contract::spec::Karg::as_str)
            .collect();
        assert_eq!(kargs, ["quiet", "a=\"b c\""]);

        let vm = settled(&file, &env, &["--memory=512M", "--karg=rw"]);
        assert_eq!(vm.guest.memory.mib(), 512);
        assert_eq!(vm.guest.karg.len(), 1, "a list is replaced, not added to");
        assert_eq!(settled("", &[], &[]).guest.memory.mib(), 4096);
    }

    #[test]
    fn lists_in_the_environment_are_words_of_a_shell() {
        let vm = settled("", &[("BCVK_BIND", "/a:b '/c d'")], &[]);
        let hosts = vm.bind.iter().map(|share| share.host.as_path());
        assert!(hosts.eq([Path::new("/a"), Path::new("/c d")]));
    }

    #[test]
    fn an_instance_type_gives_way_to_what_was_asked_for_more_closely() {
        let file = "[ephemeral]\nitype = \"u1.large\"\nmemory = \"1G\"\n";
        let size = |env: &[(&str, &str)], args: &[&str]| {
            let vm = settled(file, env, args);
            (
                vm.guest.itype.map(InstanceType::name),
                vm.guest.memory.mib(),
                vm.guest.vcpus,
            )
        };
        assert_eq!(size(&[], &[]).0, Some("u1.large"));
        assert_eq!(size(&[], &["--memory=2G"]), (None, 2048, Some(2)));
        assert_eq!(size(&[], &["--vcpus=7"]), (None, 8192, Some(7)));
        assert_eq!(size(&[("BCVK_MEMORY", "3G")], &[]), (None, 3072, Some(2)));
        let args = ["--itype=u1.small", "--memory=9G"];
        assert_eq!(size(&[], &args).0, Some("u1.small"));
    }

    #[test]
    fn the_place_of_var_that_was_asked_for_more_closely_stands() {
        let file = "[ephemeral]\nvar-size = \"1G\"\n";
        let var = |env: &[(&str, &str)], args: &[&str]| {
            let guest = settled(file, env, args).guest;
            let mib = |size: Option<bcvk_contract::spec::VarSize>| {
                size.map(bcvk_contract::spec::VarSize::mib)
            };
            (mib(guest.var_size), mib(guest.var_disk))
        };
        assert_eq!(var(&[], &[]), (Some(1024), None));
        assert_eq!(var(&[], &["--var-disk"]), (None, Some(32 << 10)));
        assert_eq!(var(&[("BCVK_VAR_DISK", "9G")], &[]), (None, Some(9 << 10)));
        let env = [("BCVK_VAR_DISK", "9G")];
        assert_eq!(var(&env, &["--var-size=64M"]), (Some(64), None));
        let both = ["--var-size=64M", "--var-disk"];
        assert_eq!(var(&[], &both), (Some(64), Some(32 << 10)));
    }

    #[test]
    fn events_by_default_give_way_to_what_needs_standard_output() {
        let env = [("BCVK_OUTPUT", "json")];
        let output = |args: &[&str]| settled("", &env, args).guest.output;
        assert_eq!(output(&[]), Some(Output::Events));
        assert_eq!(output(&["--detach"]), Some(Output::Events));
        for switch in ["-i", "-t", "--console", "--debug", "--dry-run"] {
            assert_eq!(output(&[switch]), None, "{switch}");
            if switch != "--console" {
                let asked = output(&[switch, "--output=json"]);
                assert_eq!(asked, Some(Output::Events), "{switch}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let said: Vec<String> = [
            "[ephemeral]\n\nmemory = \"banana\"\n",
            "[ephemeral]\nvcpus = 0\n",
            "[ephemeral]\nmemory = true\n",
            "[ephemeral]\nmemory = [\"1G\"]\n",
            "[ephemeral]\nkarg = [\"quiet\",\n  \"a b\"]\n",
            "[ephemeral]\nbind = \"\"\n",
            "[ephemeral]\nconsole = true\n",
            "[ephemeral]\nname = \"vm\"\n",
            "[ephemeral]\nmemroy = \"1G\"\n",
            "memory = \"1G\"\n",
            "[libvirt]\n",
            "[ephemeral\n",
            "[ephemeral]\nmemory = \"1G\"\nmemory = \"2G\"\n",
        ]
        .iter()
        .map(|text| {
            let error = config(text).expect_err(text);
            // The list of known settings is cut off, because it grows with the options.
            let problem = error.problem.split("; ").next().unwrap_or_default();
            format!("{}: {problem}", error.place)
        })
        .collect();
        insta::assert_snapshot!(said.join("\n"));

        let mut defaults = Defaults::default();
        let wrong = |variable: &str, value: &str| {
            let (variable, value) = (variable.to_owned(), value.to_owned());
            move |name: &str| (name == variable).then(|| value.clone())
        };
        let error = defaults.add_environment(wrong("BCVK_ACCEL", "magic"));
        assert_eq!(
            error.expect_err("wrong").place,
            "environment variable BCVK_ACCEL"
        );
        let error = defaults.add_environment(wrong("BCVK_KARG", "'a"));
        assert_eq!(
            error.expect_err("wrong").problem,
            "a quote in it is not closed"
        );
    }
}
