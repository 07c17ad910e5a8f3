//! Options that describe a VM, wherever it runs.

use std::fmt::Display;

use bcvk_contract::spec::{
    Choice, EnvRequest, Expose, Fidelity, Initramfs, InstanceType, Karg, Login, MachineIdRequest,
    MemorySize, PortForward, Purpose, Ready, SwapSize, VarSize, VmName,
};
use bcvk_host::AccelRequest;
use clap::Args;

use super::{HostName, Output, heading, words};

/// Options that need nothing of the host's.
#[derive(Debug, Args)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct GuestOptions {
    /// KubeVirt instance type, for --memory and --vcpus
    ///
    /// It overrides both.
    #[arg(
        long,
        value_name = "TYPE",
        value_parser = words::parser::<InstanceType>(),
        help_heading = heading::MACHINE
    )]
    pub(crate) itype: Option<InstanceType>,

    /// Memory, such as 4G or 2048M
    ///
    /// Fractions such as 1.5GiB may be given; a plain number is MiB. At least 256 MiB, in whole MiB,
    /// and no more than is available on the host, free swap included, and in the control groups that
    /// bcvk is in.
    #[arg(short, long, value_name = "SIZE", default_value = "4G", help_heading = heading::MACHINE)]
    pub(crate) memory: MemorySize,

    /// Virtual processors [default: all of the host's]
    ///
    /// From 1 to 255.
    #[arg(
        long,
        alias = "cpus",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=255),
        help_heading = heading::MACHINE
    )]
    pub(crate) vcpus: Option<u32>,

    /// Name of the VM [default: bcvk- and a random number]
    ///
    /// It is the name of its container and the guest's host name, too.
    #[arg(long)]
    pub(crate) name: Option<VmName>,

    /// Host name of the guest, if it is not NAME
    ///
    /// It goes before what the image's `/etc/hostname` says.
    #[arg(long, value_name = "HOST")]
    pub(crate) hostname: Option<HostName>,

    /// Give the VM a swap device of this size
    ///
    /// The size is written like that of memory. The device is a sparse file in podman's storage that
    /// goes away with the container.
    #[arg(long, value_name = "SIZE", help_heading = heading::MACHINE)]
    pub(crate) add_swap: Option<SwapSize>,

    /// Limit the size of /var, which is in memory
    ///
    /// `/var` is then a file system of its own. Without the option it shares one with `/etc`, `/root`
    /// and `/tmp`, which leaves a quarter of the memory to the system, and 320 MiB at least. The size is
    /// written like that of memory, from 64M on; what the VM has no memory for is refused.
    #[arg(long, value_name = "SIZE", help_heading = heading::MACHINE)]
    pub(crate) var_size: Option<VarSize>,

    /// Put /var on a disk of SIZE, or of 32G
    ///
    /// The disk is a sparse file in podman's storage, with an ext4 file system, that goes away with the
    /// container; it takes up what is written to `/var`. So a VM with little memory has room for large
    /// container images. A SIZE, from 64M to 15T, follows a `=`. The image's kernel has to have
    /// virtio_blk and ext4. A VM with this option is never resumed from a snapshot.
    #[arg(
        long,
        value_name = "SIZE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "32G",
        help_heading = heading::MACHINE
    )]
    pub(crate) var_disk: Option<VarSize>,

    /// How the guest runs
    ///
    /// `auto` takes KVM where the image is for the host's architecture, the processor has hardware
    /// virtualisation and `/dev/kvm` can be opened for reading and writing; otherwise tcg, which is
    /// emulation. `kvm` is an error where KVM cannot be used.
    #[arg(
        long,
        default_value_t,
        value_name = "WHICH",
        value_parser = words::parser::<AccelRequest>(),
        help_heading = heading::MACHINE
    )]
    pub(crate) accel: AccelRequest,

    /// Let the VM run VMs of its own with KVM
    ///
    /// Its processor then has hardware virtualisation: under KVM that of the host's, for which the host's
    /// module kvm_intel or kvm_amd must have `nested` turned on; under emulation AMD's, with which a VM in
    /// the VM takes minutes to boot. Without the option, the processor has none. Only for x86-64.
    #[arg(long, help_heading = heading::MACHINE)]
    pub(crate) nested: bool,

    /// Run CMD when the system is up, then power off
    ///
    /// CMD is run with **sh -c** as root. The exit code and the output, standard output and standard
    /// error apart, are those of CMD. It has no standard input, and needs no sshd in the image. If
    /// it is given several times, the commands run one after the other until one fails. With **-d**,
    /// **podman logs** has the output and **podman wait** the exit code. Otherwise the VM ends if
    /// **bcvk** does.
    #[arg(
        long,
        value_name = "CMD",
        allow_hyphen_values = true,
        help_heading = heading::BOOT
    )]
    pub(crate) execute: Vec<String>,

    /// Set a variable for services and sessions
    ///
    /// Without a value, your own is passed on, if it is set. A value is one line; sessions see it
    /// only up to a `#`. They get it from `/etc/environment`, services from systemd. With **--warm**,
    /// the image's services that start with the system do not get it.
    #[arg(short, long, value_name = "NAME[=VALUE]", help_heading = heading::BOOT)]
    pub(crate) env: Vec<EnvRequest>,

    /// Add a kernel argument
    ///
    /// It comes after those of the image.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, help_heading = heading::BOOT)]
    pub(crate) karg: Vec<Karg>,

    /// Machine ID: new, or 32 hexadecimal digits
    ///
    /// `new` is one that no other machine has; see **machine-id**(5). Without the option it is what the image's `/etc/machine-id` says or, where
    /// that says nothing, what its systemd makes, or a new one for a VM that is resumed.
    #[arg(long, value_name = "ID", help_heading = heading::BOOT)]
    pub(crate) machine_id: Option<MachineIdRequest>,

    /// How much to boot
    ///
    /// `fast` leaves out of the image's boot what only a host that lasts has any use for, such as
    /// saving randomness for the next boot, and out of an emulated processor what only slows it down;
    /// the guide on fidelity has the lists. `full` boots all of it.
    #[arg(
        long,
        default_value_t,
        value_name = "HOW",
        value_parser = words::parser::<Fidelity>(),
        help_heading = heading::BOOT
    )]
    pub(crate) fidelity: Fidelity,

    /// Which initramfs
    ///
    /// `image` boots through the image's own initramfs, as an installed host does. `direct` boots
    /// through one that loads the kernel's modules for a VM, makes the image the root and starts its
    /// systemd; the VM is ready some seconds sooner, and what the image's initramfs would do else is
    /// not done. `direct` is not possible with **--ignition**.
    #[arg(
        long,
        default_value_t,
        value_name = "WHICH",
        value_parser = words::parser::<Initramfs>(),
        help_heading = heading::BOOT
    )]
    pub(crate) initramfs: Initramfs,

    /// Forward a port of the host into the VM
    ///
    /// `/tcp`, which is the default, or `/udp` may follow. `GUEST` alone lets podman choose the host's
    /// port; `podman port NAME` shows it. Ranges are not accepted, nor is the option together with
    /// **--network host**.
    #[arg(
        short,
        long,
        value_name = "[IP:]HOST:GUEST",
        help_heading = heading::NETWORK
    )]
    pub(crate) publish: Vec<PortForward>,

    /// Ports exposed
    ///
    /// On which ports of the VM its neighbours on **--network** reach it, under its name: on `all` on
    /// which something listens there, as with a container, or on those alone that are published. It has
    /// no effect with the networks **host** and **none**, or with one that the VM shares with a container.
    #[arg(
        long,
        default_value_t,
        value_name = "WHICH",
        value_parser = words::parser::<Expose>(),
        help_heading = heading::NETWORK
    )]
    pub(crate) expose: Expose,

    /// Make an SSH key for the VM (the default)
    #[arg(
        short = 'K',
        long,
        overrides_with = "no_ssh_keygen",
        help_heading = heading::NETWORK
    )]
    pub(crate) ssh_keygen: bool,

    /// The way in
    ///
    /// `own` depends on nothing of the image's: neither on its sshd's configuration, keys and port nor
    /// on its network, firewall or the state of root's account. Where there is no sshd, or the user's shell
    /// lets nobody in, bcvk's own server and another shell stand in. `image` is the image's own sshd, over
    /// the guest's network, as a stranger with a key for root would reach it. One that does not start by
    /// itself is refused before the start, and one that refuses the session says why.
    #[arg(
        long,
        default_value_t,
        value_name = "WAY",
        value_parser = words::parser::<Login>(),
        help_heading = heading::NETWORK
    )]
    pub(crate) login: Login,

    /// Ready
    ///
    /// When the VM is ready for sessions. `deployed` is when a deployed host's sshd would answer: once
    /// **network.target** is reached and the network has an address, for which it waits up to 10 seconds. `early` is the first moment at which a session is possible, while the system still starts. With
    /// **--login image** the VM is ready when the image's sshd answers, and `early` is not possible.
    #[arg(
        long,
        default_value_t,
        value_name = "WHEN",
        value_parser = words::parser::<Ready>(),
        help_heading = heading::NETWORK
    )]
    pub(crate) ready: Ready,

    /// Do not make the VM reachable by SSH
    ///
    /// It is then ready when its system is up.
    #[arg(long, help_heading = heading::NETWORK)]
    pub(crate) no_ssh_keygen: bool,

    /// Show console, journal, or events
    ///
    /// WHAT is console or journal: which of them is shown, and is what **podman logs** has. The
    /// journal is text, as **journalctl -o short-monotonic** shows it. Or, for **run**, it is json:
    /// each thing that happens to the VM as a line of JSON, and nothing else, on standard output; see
    /// **JSON** in **bcvk-ephemeral-run**(8). That is not possible with **-i**, **-t**, **--console**,
    /// **--debug** or **--dry-run**.
    #[arg(
        long,
        value_name = "WHAT",
        value_parser = words::parser::<Output>(),
        hide_possible_values = true,
        help_heading = heading::OUTPUT
    )]
    pub(crate) output: Option<Output>,
}

impl GuestOptions {
    /// The purpose of a VM with these options.
    pub(crate) const fn purpose(&self) -> Purpose {
        Purpose::of(self.execute.as_slice(), !self.no_ssh_keygen)
    }

    /// The words of a command line that come to the same options.
    pub(crate) fn words(&self) -> Vec<String> {
        let Self {
            itype,
            memory,
            vcpus,
            name,
            hostname,
            add_swap,
            var_size,
            var_disk,
            execute,
            karg,
            machine_id,
            env,
            publish,
            expose,
            login,
            ready,
            ssh_keygen,
            no_ssh_keygen,
            output,
            fidelity,
            initramfs,
            accel,
            nested,
        } = self;
        let mut words = Vec::new();
        add(&mut words, "name", name);
        add(&mut words, "hostname", hostname);
        add(&mut words, "itype", itype.map(InstanceType::name));
        add(&mut words, "memory", [format!("{}M", memory.mib())]);
        add(&mut words, "vcpus", vcpus);
        add(&mut words, "accel", [accel]);
        add(&mut words, "fidelity", [fidelity]);
        add(&mut words, "initramfs", [initramfs]);
        add(&mut words, "expose", [expose]);
        add(&mut words, "login", [login]);
        add(&mut words, "ready", [ready]);
        let swap = add_swap.map(|swap| format!("{}M", swap.mib()));
        add(&mut words, "add-swap", swap);
        for (option, size) in [("var-size", var_size), ("var-disk", var_disk)] {
            add(
                &mut words,
                option,
                size.map(|size| format!("{}M", size.mib())),
            );
        }
        add(&mut words, "output", output.map(Output::name));
        let machine_id = machine_id.as_ref().map(MachineIdRequest::name);
        add(&mut words, "machine-id", machine_id);
        add(&mut words, "karg", karg.iter().map(Karg::as_str));
        add(&mut words, "env", env);
        add(&mut words, "publish", publish);
        add(&mut words, "execute", execute);
        let switches = [
            (nested, "--nested"),
            (ssh_keygen, "--ssh-keygen"),
            (no_ssh_keygen, "--no-ssh-keygen"),
        ];
        let given = switches.iter().filter(|(given, _)| **given);
        words.extend(given.map(|(_, switch)| (*switch).to_owned()));
        words
    }
}

/// Adds an option for each of its values.
fn add(words: &mut Vec<String>, option: &str, values: impl IntoIterator<Item: Display>) {
    let values = values.into_iter();
    words.extend(values.map(|value| format!("--{option}={value}")));
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn parse(words: &[String]) -> GuestOptions {
        let command = GuestOptions::augment_args(Command::new("bcvk").no_binary_name(true));
        GuestOptions::from_arg_matches(&command.get_matches_from(words)).expect("options")
    }

    #[test]
    fn options_come_back_from_their_words() {
        let none = parse(&[]);
        assert_eq!(parse(&none.words()), none);
        let all = [
            "--itype=u1.small",
            "--memory=1536M",
            "--vcpus=3",
            "--name=vm",
            "--hostname=web.example.org",
            "--add-swap=1G",
            "--var-size=512M",
            "--var-disk=20G",
            "--execute=--x 'y'",
            "--execute=b",
            "--karg=a=\"b c\"",
            "--machine-id=0123456789abcdef0123456789abcdef",
            "--env=A=b c",
            "--publish=127.0.0.1:8080:80/udp",
            "--publish=22",
            "--publish=[::1]::22",
            "--no-ssh-keygen",
            "--output=journal",
            "--fidelity=full",
            "--initramfs=direct",
            "--accel=tcg",
            "--nested",
        ]
        .map(str::to_owned);
        let all = parse(&all);
        assert_eq!(parse(&all.words()), all);
    }
}
