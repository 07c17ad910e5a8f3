//! Start of a VM in a Pod, where there is neither podman nor a host to prepare anything: the
//! runner's own way from options to a supervisor.

use std::env;
use std::process::ExitCode;

use bcvk_contract::spec::{Arch, CONTAINER_VM_DIR, ImageIdentity, pod_ports};
use bcvk_contract::status::Phase;
use bcvk_host::ssh::Side;
use bcvk_host::{HostError, Runner, SharedDir, VmDir, WatchError, guest_network, write_ssh_access};

use super::vm::{self, Resolved};
use crate::cli::Pod;
use crate::error::CommandError;
use crate::ui::Ui;

/// Makes the VM's directory, and becomes its supervisor. What keeps the VM from running is said on
/// stderr, where `kubectl logs` looks.
pub(super) fn pod(args: &Pod, ui: &Ui) -> Result<ExitCode, CommandError> {
    let guest = &args.guest;
    let arch = env::consts::ARCH.parse::<Arch>()?;
    let resolved = Resolved {
        image: ImageIdentity {
            reference: args.image.clone(),
            id: String::new(),
        },
        arch,
        accel: vm::accelerator(guest, arch, ui)?,
        qemu: Runner::qemu(arch),
        network: guest_network(None),
    };
    let env = vm::environment(&guest.env, ui)?;
    let (spec, key) = vm::spec(guest, resolved, env, pod_ports(&guest.publish)?)?;
    let dir = VmDir::at(CONTAINER_VM_DIR);
    let exe = env::current_exe().map_err(CommandError::io("find bcvk's own file"))?;
    if let Some(key) = &key {
        let written = write_ssh_access(&dir, &spec, key, &exe, Side::Container);
        written.map_err(|source| HostError::VmDir {
            dir: dir.path().to_owned(),
            source,
        })?;
    }
    let code = bcvk_supervisor::run_in_pod(spec);
    let failure = SharedDir::at(CONTAINER_VM_DIR)
        .status()
        .ok()
        .flatten()
        .and_then(|status| status.failure);
    if let Some(failure) = failure {
        ui.report(&WatchError::Vm(Box::new(failure)).into());
    }
    Ok(ExitCode::from(code))
}

/// Succeeds if the VM of this container is ready: for a Pod's readiness probe.
pub(super) fn ready() -> ExitCode {
    match SharedDir::at(CONTAINER_VM_DIR).status() {
        Ok(Some(status)) if status.phase == Phase::Ready => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
