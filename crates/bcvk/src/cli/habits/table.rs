//! Words of podman's that mean nothing here, and what to use: the only list of them.

/// A line of the table: words that a podman user may type where there are none, and a line that names what
/// to use.
enum Row {
    /// Options of these commands.
    Options(
        &'static [&'static str],
        &'static [&'static str],
        &'static str,
    ),
    /// Commands.
    Commands(&'static [&'static str], &'static str),
    /// One word more than these commands take, which stands for `WORD` in the line.
    FurtherWord(&'static [&'static str], &'static str),
}

use Row::{Commands, FurtherWord, Options};

/// Commands that start a VM.
const STARTS: &[&str] = &["run", "run-ssh", "check", "boot-chart", "kube"];
/// Commands about VMs that are there.
const OF_VMS: &[&str] = &[
    "ssh", "exec", "cp", "top", "port", "start", "stop", "rm", "logs", "inspect", "wait",
];

#[rustfmt::skip] // A row stands on two lines.
const TABLE: &[Row] = &[
    // How a VM is started.
    Options(STARTS, &["--privileged", "--cap-add", "--cap-drop", "--security-opt", "--seccomp-policy"],
        "leave it out: root of a VM has all rights there, and none on the host"),
    Options(STARTS, &["--entrypoint", "--init", "--init-path", "--systemd"],
        "leave it out: a VM boots its image's own systemd; `bcvk ephemeral run --execute CMD IMAGE` runs a command in it"),
    Options(STARTS, &["-w", "--workdir"],
        "change the directory in the command: `bcvk ephemeral run-ssh IMAGE 'cd /srv && make'`"),
    Options(&["run", "boot-chart", "kube"], &["-u", "--user"],
        "a VM boots as root; `bcvk ephemeral run-ssh --user NAME IMAGE` and `bcvk ephemeral ssh NAME@VM` log in as somebody else"),
    Options(&["run-ssh"], &["-u"],
        "`bcvk ephemeral run-ssh --user NAME IMAGE` logs in as somebody else"),
    Options(&["run-ssh"], &["-d", "--detach"],
        "`bcvk ephemeral run -d --name VM IMAGE` runs it in the background, and `bcvk ephemeral ssh VM` logs in"),
    Options(STARTS, &["--mount", "--volumes-from"],
        "`--volume HOST:/PATH[:ro]` shares a directory, `--mount-disk-file FILE` gives the VM a disk"),
    Options(STARTS, &["--tmpfs", "--read-only", "--read-only-tmpfs", "--shm-size", "--rootfs"],
        "leave it out: the image is read-only in a VM, and /etc, /var, /root and /tmp are in memory; `--var-size` and `--var-disk` are about /var"),
    Options(STARTS, &["--device", "--device-cgroup-rule", "--gpus"],
        "devices of the host are not passed on; `--mount-disk-file FILE` gives the VM a disk"),
    Options(STARTS, &["--env-file", "--env-host", "--env-merge", "--unsetenv", "--unsetenv-all"],
        "`-e NAME=VALUE` sets a variable, `-e NAME` passes your own on; both may be given several times"),
    Options(STARTS, &["--sysctl"],
        "a kernel argument does it: `--karg sysctl.net.ipv4.ip_forward=1`"),
    Options(STARTS, &["--restart"],
        "leave it out: a VM that has ended stays so; `bcvk ephemeral start VM` boots one again that was kept"),
    Options(STARTS, &["-P", "--publish-all"],
        "name each port: `-p 8080:80`, or `-p 80` for a port of podman's choice, which `bcvk ephemeral port VM` shows"),
    Options(STARTS, &["--ip", "--ip6", "--mac-address", "--network-alias", "--dns", "--dns-option", "--dns-search", "--add-host", "--no-hosts", "--no-hostname"],
        "`--network NAME[:OPTIONS]` is what podman run takes; addresses and names within the VM are its image's matter"),
    Options(STARTS, &["--network-isolation"],
        "`--network none` leaves the VM no network but QEMU's own"),
    Options(STARTS, &["--pod", "--pod-id-file"],
        "`bcvk ephemeral kube IMAGE` prints a Pod with the VM; `--network NAME` brings VMs into one network"),
    Options(STARTS, &["--userns", "--uidmap", "--gidmap", "--subuidname", "--subgidname", "--hostuser", "--pid", "--ipc", "--uts", "--cgroupns", "--cgroups", "--cgroup-parent", "--cgroup-conf", "--group-add", "--passwd", "--passwd-entry", "--umask", "--chrootdirs", "--personality"],
        "leave it out: users, processes and groups of a VM are its own, and no part of the host's"),
    Options(STARTS, &["--ulimit", "--pids-limit", "--oom-kill-disable", "--oom-score-adj", "--blkio-weight", "--device-read-bps", "--device-write-bps"],
        "the VM's size is its limit: `--memory`, `--vcpus`, `--var-size`; limits within it are its systemd's"),
    Options(STARTS, &["-c", "--cpu-shares", "--cpu-quota", "--cpu-period", "--cpuset-cpus", "--cpuset-mems"],
        "`--vcpus N` is the number of the VM's processors"),
    Options(STARTS, &["--memory-swap", "--memory-swappiness", "--memory-reservation"],
        "`--add-swap SIZE` gives the VM swap"),
    Options(STARTS, &["--health-cmd", "--health-interval", "--health-retries", "--health-timeout", "--health-start-period", "--health-on-failure", "--no-healthcheck"],
        "`bcvk ephemeral wait --for unit=UNIT VM` waits for a service"),
    Options(STARTS, &["--log-driver", "--log-opt"],
        "`--log-dir console,journal=DIR` keeps both as files; `bcvk ephemeral logs VM` shows them"),
    Options(STARTS, &["--secret"],
        "`--ro-bind DIR` shares a directory that has it, `--cloud-init FILE` and `--ignition FILE` hand it over at the boot"),
    Options(STARTS, &["--platform", "--arch", "--os", "--variant"],
        "pull that image first: `podman pull --platform linux/arm64 IMAGE`; a VM has its image's architecture"),
    Options(STARTS, &["--authfile", "--creds", "--tls-verify", "--cert-dir", "--disable-content-trust"],
        "pull the image first, with podman's options: `podman pull --authfile FILE IMAGE`"),
    Options(STARTS, &["--stop-timeout", "--stop-signal", "--sig-proxy", "--detach-keys", "-a", "--attach"],
        "leave it out: Ctrl-C shuts the VM of `run` down; `bcvk ephemeral stop -t SECONDS VM` says how long that may take"),
    Options(STARTS, &["--cidfile", "--pidfile", "--conmon-pidfile"],
        "`bcvk ephemeral run -d IMAGE` prints the container's ID"),
    Options(STARTS, &["--annotation", "--label-file"],
        "`--label KEY=VALUE` marks the VM's container"),
    Options(STARTS, &["--rmi"],
        "`podman rmi IMAGE` removes the image once the VM is gone"),
    Options(STARTS, &["--tz"],
        "`-e TZ=Europe/Berlin` sets it for services and sessions"),
    // VMs that are there.
    Options(&["ps"], &["-l", "--latest", "-n", "--last"],
        "`bcvk ephemeral ps -a` shows all of them"),
    Options(OF_VMS, &["-l", "--latest", "-n", "--last"],
        "name the VM; `bcvk ephemeral ps` shows the names"),
    Options(&["exec"], &["-w", "--workdir"],
        "change the directory in the command: `bcvk ephemeral exec VM 'cd /srv && make'`"),
    Options(&["exec"], &["-e", "--env", "--env-file"],
        "put env before the command: `bcvk ephemeral exec VM env NAME=VALUE CMD`"),
    Options(&["exec"], &["-d", "--detach"],
        "`bcvk ephemeral exec VM systemd-run CMD` runs it as a service"),
    Options(&["exec"], &["--privileged", "--detach-keys", "--preserve-fds"],
        "leave it out: root of a VM has all rights there"),
    Options(&["ps"], &["-s", "--size", "-p", "--pod", "--ns", "--external", "--sync"],
        "`podman ps` shows this of the VM's container"),
    Options(&["ps"], &["--sort"],
        "sort the lines: `bcvk ephemeral ps --noheading | sort`"),
    Options(&["ps"], &["-w", "--watch"],
        "`watch bcvk ephemeral ps` shows it again and again"),
    Options(&["logs"], &["-t", "--timestamps"],
        "lines of the console have no time; `bcvk ephemeral logs --journal VM` shows it"),
    Options(&["logs"], &["--until", "--names", "--color", "--details"],
        "`bcvk ephemeral ssh VM journalctl -b --until TIME` has all of the journal's options"),
    Options(&["rm"], &["-v", "--volumes", "--depend", "-t", "--time", "--cidfile"],
        "leave it out: a VM has nothing that stays, and `bcvk ephemeral rm -f VM` ends it at once"),
    Options(&["rm"], &["--filter"],
        "`bcvk ephemeral rm $(bcvk ephemeral ps -aq --filter KEY=VALUE)` removes those"),
    Options(&["stop"], &["--filter", "--cidfile"],
        "`bcvk ephemeral stop $(bcvk ephemeral ps -q --filter KEY=VALUE)` stops those"),
    Options(&["start"], &["-a", "--attach", "-i", "--interactive"],
        "`bcvk ephemeral logs -f VM` follows the console, `podman attach VM` types into it"),
    Options(&["start"], &["--all", "--filter"],
        "`bcvk ephemeral start $(bcvk ephemeral ps -aq --filter status=exited)` boots those"),
    Options(&["inspect"], &["-s", "--size", "-t", "--type"],
        "`podman inspect VM` describes the VM's container"),
    Options(&["wait"], &["-i", "--interval", "--ignore"],
        "leave it out: `bcvk ephemeral wait VM` notices at once"),
    Options(&["cp"], &["-a", "--archive", "-r", "-R", "--recursive", "--overwrite", "--pause", "-L"],
        "leave it out: directories are copied with what is in them; `rsync -e 'ssh -F FILE'` with what `bcvk ephemeral ssh-config VM` prints does more"),
    Options(&["port"], &["-a", "--all"],
        "`bcvk ephemeral ps --format '{{.Names}} {{.Ports}}'` shows the ports of all VMs"),
    Options(&["images", "list"], &["-a", "--all", "-f", "--filter", "--sort", "--digests", "--history", "-n"],
        "`podman images` has it, and shows all images"),
    // Words too many.
    FurtherWord(&["kube"],
        "`bcvk ephemeral kube IMAGE` prints a Pod, and `podman kube play FILE` runs one"),
    FurtherWord(&["run"],
        "`bcvk ephemeral run-ssh IMAGE -- WORD` boots it for a command; `bcvk ephemeral run --execute 'WORD' IMAGE` has no need of SSH"),
    FurtherWord(&["ssh-config"], "one VM at a time: `bcvk ephemeral ssh-config WORD`"),
    FurtherWord(&["rm-all"], "`bcvk ephemeral rm WORD` removes one"),
    FurtherWord(&["ps"], "`bcvk ephemeral ps --filter name=WORD` shows one"),
    FurtherWord(&["images", "list"], "`podman images WORD` shows one"),
    // Commands.
    Commands(&["pause", "unpause"],
        "a VM is not paused: `bcvk ephemeral run --warm auto IMAGE` resumes the next one in a second"),
    Commands(&["restore"],
        "`bcvk ephemeral reset VM` takes a running VM back to its checkpoint"),
    Commands(&["restart"],
        "`bcvk ephemeral stop VM && bcvk ephemeral start VM` boots it again; its changes are gone then"),
    Commands(&["kill"], "`bcvk ephemeral stop -t 0 VM` ends it at once"),
    Commands(&["create", "init"], "`bcvk ephemeral run -d --name VM IMAGE` makes and boots a VM"),
    Commands(&["attach", "console"],
        "`bcvk ephemeral logs -f VM` follows the console, `podman attach VM` types into that of `bcvk ephemeral run -it IMAGE`"),
    Commands(&["shell", "enter", "login", "sh"], "`bcvk ephemeral ssh VM` opens a shell in a VM"),
    Commands(&["commit", "export", "diff", "mount", "unmount", "umount"],
        "a VM's changes go away with it: put them into the image's Containerfile, or share a directory with `bcvk ephemeral run --bind DIR IMAGE`"),
    Commands(&["build", "pull", "push", "tag", "untag", "rmi", "save", "load", "import", "search", "history", "logout", "manifest", "image", "farm", "artifact"],
        "images are podman's: `podman build`, `podman pull` and so on; `bcvk images` shows those that boot"),
    Commands(&["network", "volume", "secret", "system", "unshare", "machine", "auto-update", "quadlet"],
        "that is podman's own: `podman network`, `podman volume` and so on"),
    Commands(&["stats"], "`podman stats VM` shows what it takes of the host, `bcvk ephemeral top VM` its processes"),
    Commands(&["events"], "`bcvk ephemeral run --output json IMAGE` says what happens to a VM"),
    Commands(&["rename", "update"],
        "a VM stays as it was started: `bcvk ephemeral run --replace --name VM IMAGE` starts another in its place"),
    Commands(&["exists"], "`bcvk ephemeral inspect VM` fails if there is none"),
    Commands(&["prune", "cleanup"],
        "`bcvk ephemeral rm $(bcvk ephemeral ps -aq --filter status=exited)` removes VMs that have ended"),
    Commands(&["healthcheck"], "`bcvk ephemeral wait --for unit=UNIT VM` waits for a service"),
    Commands(&["play", "generate", "pod", "compose"], "`bcvk ephemeral kube IMAGE` prints a Pod with a VM"),
    Commands(&["container", "vm"], "leave it out: `bcvk ephemeral ps`, `bcvk ephemeral inspect VM`"),
    Commands(&["info"], "`bcvk doctor` says what this machine has and lacks"),
    Commands(&["version"], "`bcvk --version` prints it"),
    Commands(&["image-list", "images", "doctor", "completions"],
        "it stands by itself, without ephemeral: `bcvk images`, `bcvk doctor`, `bcvk completions bash`"),
    // Commands of the other bcvk.
    Commands(&["scp"], "`bcvk ephemeral cp FILE VM:/PATH` copies; `bcvk ephemeral ssh-config VM` prints what scp needs"),
    Commands(&["test-basic"],
        "`bcvk ephemeral run-ssh IMAGE -- systemctl is-system-running --wait` tests whether an image boots"),
    Commands(&["libvirt", "to-disk", "project", "anaconda"],
        "bootc-dev/bcvk has this command; this bcvk has VMs that make no disk: `bcvk ephemeral run-ssh IMAGE`"),
];

/// Returns what to use in place of an option that `verb` does not have.
pub(super) fn for_option(verb: &str, option: &str) -> Option<&'static str> {
    TABLE.iter().find_map(|row| match row {
        Options(verbs, options, advice) if verbs.contains(&verb) && options.contains(&option) => {
            Some(*advice)
        }
        _ => None,
    })
}

/// Returns what to use in place of a command.
pub(super) fn for_command(command: &str) -> Option<&'static str> {
    TABLE.iter().find_map(|row| match row {
        Commands(commands, advice) if commands.contains(&command) => Some(*advice),
        _ => None,
    })
}

/// Returns what to use where one word more was given to `verb` than it takes.
pub(super) fn for_further_word(verb: &str) -> Option<&'static str> {
    TABLE.iter().find_map(|row| match row {
        FurtherWord(verbs, advice) if verbs.contains(&verb) => Some(*advice),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use clap::error::ErrorKind;

    use super::*;
    use crate::cli;

    fn find(command: &Command, verb: &str) -> Option<Command> {
        let mut below = command.get_subcommands();
        below.find_map(|below| {
            if below.get_name() == verb {
                Some(below.clone())
            } else {
                find(below, verb)
            }
        })
    }

    fn advice(row: &Row) -> &'static str {
        match row {
            Options(_, _, advice) | Commands(_, advice) | FurtherWord(_, advice) => advice,
        }
    }

    #[test]
    fn what_there_is_is_in_no_row() {
        let all = cli::command();
        let ephemeral = all.find_subcommand("ephemeral").expect("ephemeral");
        for row in TABLE {
            match row {
                Options(verbs, options, _) => {
                    for verb in *verbs {
                        // OpenSSH's options are passed on as they are.
                        let Some(found) = find(&all, verb).filter(|_| *verb != "ssh") else {
                            assert_eq!(*verb, "ssh");
                            continue;
                        };
                        for option in *options {
                            let has = found.get_arguments().any(|arg| {
                                let long = arg.get_long_and_visible_aliases().unwrap_or_default();
                                let short = arg.get_short_and_visible_aliases().unwrap_or_default();
                                long.iter().any(|name| format!("--{name}") == *option)
                                    || short.iter().any(|name| format!("-{name}") == *option)
                            });
                            assert!(!has, "{verb} has {option}");
                        }
                    }
                }
                Commands(commands, _) => {
                    for command in *commands {
                        assert!(ephemeral.find_subcommand(command).is_none(), "{command}");
                    }
                }
                FurtherWord(verbs, _) => {
                    assert!(
                        verbs.iter().all(|verb| find(&all, verb).is_some()),
                        "{verbs:?}"
                    );
                }
            }
        }
    }

    /// Advice that does not work is worse than none.
    #[test]
    fn commands_of_the_advice_are_understood() {
        let mut seen = 0;
        for advice in TABLE.iter().map(advice) {
            let quoted = advice.split('`').skip(1).step_by(2);
            for line in quoted.filter(|line| line.starts_with("bcvk ")) {
                let line = line.replace("$(bcvk", "VM ; bcvk").replace(')', "");
                let line = line.replace("KEY=VALUE", "name=x").replace("SECONDS", "5");
                let words = shlex::split(&line).expect(&line);
                let parts = words.split(|word| ["&&", "|", ";"].contains(&word.as_str()));
                for part in parts.filter(|part| part.first().is_some_and(|word| word == "bcvk")) {
                    let words = part.iter().take_while(|word| !word.starts_with('<'));
                    let parsed = cli::Defaults::default().try_parse(words.map(Into::into));
                    let told = parsed.err().map(|error| (error.kind(), error.to_string()));
                    if let Some((kind, text)) = told {
                        assert_eq!(kind, ErrorKind::DisplayVersion, "{part:?}: {text}");
                    }
                    seen += 1;
                }
            }
        }
        assert!(seen > 40, "only {seen}");
    }
}
