//! What a VM is like, wherever it runs.

use bcvk_vm::host::AccelRequest;
use bcvk_vm::spec::{
    Fidelity, Initramfs, InstanceType, Karg, MachineIdRequest, MemorySize, PortForward, Stream,
    SwapSize, VmName,
};
use clap::Args;

/// Options that need nothing of the host's.
#[derive(Debug, Args)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct GuestOptions {
    /// KubeVirt instance type, u1.nano to u1.8xlarge; overrides --memory and --vcpus
    #[arg(long, value_name = "TYPE")]
    pub(crate) itype: Option<InstanceType>,

    /// Memory: 4G, 2048M; a plain number is MiB
    #[arg(long, value_name = "SIZE", default_value = "4G")]
    pub(crate) memory: MemorySize,

    /// Number of virtual processors [default: all there are; for kube, 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(crate) vcpus: Option<u32>,

    /// Name of the VM [default: bcvk- and a random number]
    #[arg(long)]
    pub(crate) name: Option<VmName>,

    /// Give the VM a swap device
    #[arg(long, value_name = "SIZE")]
    pub(crate) add_swap: Option<SwapSize>,

    /// Run a command in the VM once its system is up, then power it off
    #[arg(long, value_name = "CMD", allow_hyphen_values = true)]
    pub(crate) execute: Vec<String>,

    /// Add a kernel argument
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) karg: Vec<Karg>,

    /// Machine ID of the guest: new, for one that no other machine has, or 32 hexadecimal digits
    #[arg(long, value_name = "ID")]
    pub(crate) machine_id: Option<MachineIdRequest>,

    /// Set an environment variable for the VM's services and sessions; without a value, pass on
    /// your own
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,

    /// Forward a port of the host into the VM
    #[arg(short, long, value_name = "[IP:]HOST:GUEST[/tcp|udp]")]
    pub(crate) publish: Vec<PortForward>,

    /// Make an SSH key for the VM; this is the default
    #[arg(short = 'K', long, overrides_with = "no_ssh_keygen")]
    pub(crate) ssh_keygen: bool,

    /// Do not make the VM reachable by SSH
    #[arg(long)]
    pub(crate) no_ssh_keygen: bool,

    /// Show the VM's console or its journal
    #[arg(long, value_name = "STREAM")]
    pub(crate) output: Option<Stream>,

    /// How much of the image's boot to repeat: fast, without what only a host that lasts needs, or
    /// full
    #[arg(long, default_value = "fast", value_name = "HOW")]
    pub(crate) fidelity: Fidelity,

    /// What to boot through: the image's own initramfs, or direct, with one that does nothing but
    /// make the image the root
    #[arg(long, default_value = "image", value_name = "WHICH")]
    pub(crate) initramfs: Initramfs,

    /// How to run the guest: kvm, tcg (emulation), or auto, which takes kvm where it works
    #[arg(long, default_value = "auto", value_name = "WHICH")]
    pub(crate) accel: AccelRequest,
}

impl GuestOptions {
    /// The words of a command line that come to the same options.
    pub(crate) fn words(&self) -> Vec<String> {
        let Self {
            itype,
            memory,
            vcpus,
            name,
            add_swap,
            execute,
            karg,
            machine_id,
            env,
            publish,
            ssh_keygen,
            no_ssh_keygen,
            output,
            fidelity,
            initramfs,
            accel,
        } = self;
        let mut words = Vec::new();
        let mut option = |name: &str, value: &str| words.push(format!("--{name}={value}"));
        if let Some(name) = name {
            option("name", name.as_str());
        }
        if let Some(itype) = itype {
            option("itype", itype.name());
        }
        option("memory", &format!("{}M", memory.mib()));
        if let Some(vcpus) = vcpus {
            option("vcpus", &vcpus.to_string());
        }
        option("accel", accel.name());
        option("fidelity", fidelity.name());
        option("initramfs", initramfs.name());
        if let Some(swap) = add_swap {
            option("add-swap", &format!("{}M", swap.mib()));
        }
        if let Some(output) = output {
            option("output", output.name());
        }
        if let Some(id) = machine_id {
            option("machine-id", id.name());
        }
        for karg in karg {
            option("karg", karg.as_str());
        }
        for var in env {
            option("env", var);
        }
        for forward in publish {
            option("publish", &forward.to_string());
        }
        for command in execute {
            option("execute", command);
        }
        for (given, switch) in [
            (ssh_keygen, "--ssh-keygen"),
            (no_ssh_keygen, "--no-ssh-keygen"),
        ] {
            if *given {
                words.push(switch.to_owned());
            }
        }
        words
    }
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
            "--add-swap=1G",
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
        ]
        .map(str::to_owned);
        let all = parse(&all);
        assert_eq!(parse(&all.words()), all);
    }
}
