//! Way from the options of a VM to its [`VmSpec`], on whatever machine it runs.

use std::env;
use std::path::PathBuf;

use bcvk_contract::key_pair::KeyPair;
use bcvk_contract::spec::{
    Accelerator, Arch, Console, EnvRequest, EnvVar, GuestPort, ImageIdentity, InstanceType,
    Lifetime, Login, MachineId, MachineIdRequest, MemorySize, Ready, SPEC_VERSION, SshAccess, Var,
    VmName, VmSpec,
};
use bcvk_contract::user_net::UserNet;
use bcvk_host::{check_nested, choose_accelerator};

use crate::cli::{GuestOptions, HostName, Output};
use crate::error::{CommandError, UsageError};
use crate::ui::{Notice, Ui};

/// Parts of a VM that are resolved against the machine it runs on.
pub(super) struct Resolved {
    pub(super) image: ImageIdentity,
    pub(super) arch: Arch,
    pub(super) accel: Accelerator,
    pub(super) qemu: PathBuf,
    pub(super) network: UserNet,
}

/// Makes the spec of a VM that `guest` describes, with nothing of the host's, and the key that lets
/// the user in.
pub(super) fn spec(
    guest: &GuestOptions,
    resolved: Resolved,
    env: Vec<EnvVar>,
    ports: Vec<GuestPort>,
) -> Result<(VmSpec, Option<KeyPair>), CommandError> {
    if guest.login == Login::Image && guest.ready == Ready::Early {
        return Err(UsageError::EarlyImageLogin.into());
    }
    let name = match &guest.name {
        Some(name) => name.clone(),
        None => random_name()?,
    };
    let key = if guest.no_ssh_keygen {
        None
    } else {
        Some(new_key(&format!("bcvk {name}"))?)
    };
    let hostname = guest.hostname.as_ref().map(HostName::karg).transpose()?;
    let kargs = hostname
        .into_iter()
        .chain(guest.karg.iter().cloned())
        .collect();
    let spec = VmSpec {
        version: SPEC_VERSION,
        host_key: new_key(name.as_str())?.private().to_owned(),
        name,
        image: resolved.image,
        arch: resolved.arch,
        accel: resolved.accel,
        nested: guest.nested,
        vcpus: vcpus(guest).unwrap_or_else(processors),
        memory: memory(guest),
        qemu: resolved.qemu,
        machine_id: guest.machine_id.as_ref().map(machine_id).transpose()?,
        kargs,
        shares: Vec::new(),
        host_storage: false,
        disks: Vec::new(),
        swap: guest.add_swap,
        var: var(guest)?,
        units: Vec::new(),
        ignition: false,
        cloud_init: false,
        execute: guest.execute.clone(),
        ports,
        network: resolved.network,
        domain: None,
        expose: guest.expose,
        env,
        ssh: key.as_ref().map(|key| SshAccess {
            authorized_key: key.public().to_owned(),
            login: guest.login,
            ready: guest.ready,
        }),
        fidelity: guest.fidelity,
        initramfs: guest.initramfs,
        snapshot: None,
        lifetime: Lifetime::Detached,
        console: Console::Log,
        output: guest.output.and_then(Output::stream).unwrap_or_default(),
        logs: None,
        serial_ports: Vec::new(),
    };
    Ok((spec, key))
}

/// Returns the memory of the VM.
pub(super) fn memory(guest: &GuestOptions) -> MemorySize {
    guest.itype.map_or(guest.memory, InstanceType::memory)
}

/// Returns the place of the VM's `/var`.
pub(super) fn var(guest: &GuestOptions) -> Result<Var, CommandError> {
    let var = match (guest.var_size, guest.var_disk) {
        (None, None) => Var::Shared,
        (Some(size), None) => Var::Memory(size),
        (None, Some(size)) => Var::Disk(size),
        (Some(_), Some(_)) => return Err(UsageError::VarTwice.into()),
    };
    var.check_fits(memory(guest), guest.add_swap)?;
    Ok(var)
}

/// Returns the VM's number of processors, if anybody has set one.
pub(super) fn vcpus(guest: &GuestOptions) -> Option<u32> {
    guest.itype.map_or(guest.vcpus, |itype| Some(itype.vcpus()))
}

/// Counts the processors that this machine, or this container, may use.
fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
}

/// Chooses the accelerator; the user is told if it is not what they may have expected.
pub(super) fn accelerator(
    guest: &GuestOptions,
    arch: Arch,
    ui: &Ui,
) -> Result<Accelerator, CommandError> {
    let choice = choose_accelerator(guest.accel, arch)?;
    if guest.nested {
        check_nested(choice.accel, arch)?;
    }
    if let Some(notice) = &choice.notice {
        ui.warning(notice);
    }
    Ok(choice.accel)
}

/// Returns the variables that were asked for; a name alone passes on the user's own.
pub(super) fn environment(requests: &[EnvRequest], ui: &Ui) -> Result<Vec<EnvVar>, CommandError> {
    let mut env = Vec::new();
    for request in requests {
        env.extend(request.resolve(|name| env::var(name).ok())?);
    }
    for var in env.iter().filter(|var| var.value.contains('#')) {
        ui.warning(&Notice::CutVariable { name: &var.name });
    }
    Ok(env)
}

fn new_key(comment: &str) -> Result<KeyPair, CommandError> {
    KeyPair::generate(comment)
        .map_err(|e| CommandError::io("make SSH keys")(std::io::Error::other(e)))
}

pub(super) fn random_name() -> Result<VmName, CommandError> {
    Ok(format!("bcvk-{:08x}", u32::from_be_bytes(random()?)).parse()?)
}

fn machine_id(request: &MachineIdRequest) -> Result<MachineId, CommandError> {
    Ok(match request {
        MachineIdRequest::New => MachineId::random(random()?),
        MachineIdRequest::Given(id) => id.clone(),
    })
}

fn random<const N: usize>() -> Result<[u8; N], CommandError> {
    let mut random = [0; N];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| CommandError::io("get randomness")(e.into()))?;
    Ok(random)
}
