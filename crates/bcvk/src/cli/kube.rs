//! `bcvk ephemeral kube`.

use clap::Args;

use super::GuestOptions;

/// Print a Kubernetes Pod that boots an image as a VM
///
/// Its container is of a runner image (`make runner`) and mounts the bootable image as a volume. It
/// needs no privilege.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral kube --runner quay.io/me/bcvk-runner quay.io/me/mybootc | kubectl apply -f -
  bcvk ephemeral kube --name check --execute 'systemctl --failed' quay.io/me/mybootc >pod.yaml")]
pub(crate) struct Kube {
    /// Container image to boot, as the cluster's nodes pull it
    pub(crate) image: String,

    /// Image with QEMU and bcvk, as the cluster's nodes pull it
    #[arg(long, value_name = "IMAGE", default_value = DEFAULT_RUNNER)]
    pub(crate) runner: String,

    /// What the cluster calls /dev/kvm; the Pod asks for one, unless with --accel tcg
    #[arg(
        long,
        value_name = "RESOURCE",
        default_value = "devices.kubevirt.io/kvm"
    )]
    pub(crate) kvm_resource: String,

    #[command(flatten)]
    pub(crate) guest: GuestOptions,
}

/// What `make runner` makes.
const DEFAULT_RUNNER: &str = concat!("localhost/bcvk-runner:", env!("CARGO_PKG_VERSION"));
