//! `bcvk ephemeral kube`.

use clap::{Arg, Args};

use super::{GuestOptions, heading};

/// Print a Kubernetes Pod that boots an image as a VM
#[derive(Debug, Args)]
#[command(
    mut_arg("name", |arg| describe(
        arg,
        "Name of Pod and VM [default: bcvk- and a number]",
        "At most 63 lowercase letters, digits and dashes.",
    )),
    mut_arg("vcpus", |arg| describe(
        arg,
        "Processors of the VM [default: 2]",
        "It is the container's limit, too.",
    )),
    mut_arg("memory", |arg| describe(
        arg,
        "Memory of the VM, such as 4G or 2048M",
        "The container's limit is 512 MiB above it.",
    )),
    mut_arg("accel", |arg| explain(
        arg,
        "`tcg` emulates, and asks for no device. Everything else is KVM or an error.",
    )),
    mut_arg("env", |arg| explain(arg, "Without a value, it gets the one that it has here.")),
    mut_arg("execute", |arg| explain(
        arg,
        "The Pod ends as CMD does. See **bcvk-ephemeral-run**(8).",
    )),
    mut_arg("publish", |arg| describe(
        arg,
        "A port of the Pod that leads into the VM",
        "The Pod's port is from 1024 to 65535. `/tcp`, which is the default, or `/udp` may follow.",
    ).value_name("POD:GUEST")),
    after_help = "\
Examples:
  bcvk ephemeral kube --runner quay.io/me/runner quay.io/me/mybootc >pod.yaml
  bcvk ephemeral kube --name check quay.io/me/mybootc | kubectl apply -f -"
)]
pub(crate) struct Kube {
    /// Container image to boot, as the cluster's nodes pull it
    pub(crate) image: String,

    /// Image with QEMU and bcvk, for the nodes
    ///
    /// It is named as the cluster's nodes pull it. `make runner` in bcvk's source makes one.
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = DEFAULT_RUNNER,
        hide_default_value = true,
        help_heading = heading::CLUSTER
    )]
    pub(crate) runner: String,

    /// What the cluster calls /dev/kvm
    ///
    /// The Pod asks for one, unless **--accel tcg** is given. The default is that of KubeVirt's device
    /// plugin.
    #[arg(
        long,
        value_name = "RESOURCE",
        default_value = "devices.kubevirt.io/kvm",
        hide_default_value = true,
        help_heading = heading::CLUSTER
    )]
    pub(crate) kvm_resource: String,

    #[command(flatten)]
    pub(crate) guest: GuestOptions,
}

/// Gives an option that a Pod has too the words for a Pod.
fn describe(arg: Arg, help: &'static str, more: &str) -> Arg {
    explain(arg.help(help), more)
}

/// Explains an option whose line of help is right for a Pod too.
fn explain(arg: Arg, more: &str) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.long_help(format!("{help}\n\n{more}"))
}

/// Image that `make runner` builds.
const DEFAULT_RUNNER: &str = concat!("localhost/bcvk-runner:", env!("CARGO_PKG_VERSION"));
