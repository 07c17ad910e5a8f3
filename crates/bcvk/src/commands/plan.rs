//! Way from options to a [`Launch`]: everything is checked here, before anything is started.

use std::env;
use std::path::{Path, PathBuf};

use bcvk_contract::linkage::check_static;
use bcvk_contract::spec::{
    Arch, Console, EnvVar, Expose, GuestPort, Initramfs, KeptLogs, Lifetime, Login, PortForward,
    STORAGE_GUEST_PATH, STORAGE_TAG, SerialPort, Share, Stream, UnitFile, VmSpec, check_disks,
    check_serial_ports, check_shares,
};
use bcvk_host::podman::{Podman, check_path};
use bcvk_host::{
    ImageClaims, ImageError, ImageInfo, Launch, ResolvedDisk, Runner, Tool, allow_open_files,
    check_memory, container_limits, domain, find_tool, guest_network, has_neighbours,
    output_directory, output_file, read_ignition, read_units, read_user_data, resolve_disk,
    resolve_share, ulimits,
};

use super::Context;
use super::vm::{self, Resolved};
use crate::cli::{Output, VmOptions};
use crate::error::{CommandError, UsageError};
use crate::ui::{Notice, Ui};

/// Settings of a VM that the verb decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunMode {
    pub(super) interactive: bool,
    pub(super) tty: bool,
    pub(super) remove: bool,
    pub(super) lifetime: Lifetime,
}

/// Values of the options that need no image: they are read and checked before one is looked at, or
/// pulled.
struct Inputs {
    shares: Vec<Share>,
    serial_ports: Vec<SerialPort>,
    logs: Option<KeptLogs>,
    units: Vec<UnitFile>,
    ignition: Option<Vec<u8>>,
    cloud_init: Option<Vec<u8>>,
    publish: Vec<PortForward>,
    env: Vec<EnvVar>,
}

impl Inputs {
    fn read(
        options: &VmOptions,
        mode: RunMode,
        cwd: &Path,
        podman: &Podman,
        ui: &Ui,
    ) -> Result<Self, CommandError> {
        let guest = &options.guest;
        let shares = shares(options, cwd, podman)?;
        check_shares(&shares)?;
        vm::var(guest)?.check_shares(&shares)?;
        let serial_ports = serial_ports(options, cwd)?;
        check_serial_ports(&serial_ports)?;
        let logs = logs(options, cwd)?;
        let units = options.systemd_units.as_deref().map(read_units);
        let units = units.transpose()?.unwrap_or_default();
        if options.ignition.is_some() && guest.initramfs == Initramfs::Direct {
            return Err(UsageError::IgnitionWithoutInitramfs.into());
        }
        let ignition = options.ignition.as_deref().map(read_ignition);
        let ignition = ignition.transpose()?;
        let cloud_init = options.cloud_init.as_deref().map(read_user_data);
        let cloud_init = cloud_init.transpose()?;
        check_output(options, mode)?;
        let publish = published(options)?;
        let env = vm::environment(&guest.env, ui)?;
        check_memory(vm::memory(guest))?;
        Ok(Self {
            shares,
            serial_ports,
            logs,
            units,
            ignition,
            cloud_init,
            publish,
            env,
        })
    }

    /// Returns the ports of the container that lead to the guest: those of the same number. Several of the
    /// host's may lead to one.
    fn ports(&self) -> Vec<GuestPort> {
        let mut ports: Vec<GuestPort> = Vec::new();
        for forward in &self.publish {
            let port = GuestPort {
                container: forward.guest_port,
                guest: forward.guest_port,
                protocol: forward.protocol,
            };
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        ports
    }
}

/// Resolves the options against the host.
pub(super) fn plan(
    image: &str,
    options: &VmOptions,
    mode: RunMode,
    context: &Context,
    ui: &Ui,
) -> Result<Launch, CommandError> {
    check_static()?;
    allow_open_files()?;
    let cwd = env::current_dir().map_err(CommandError::io("find the current directory"))?;
    let inputs = Inputs::read(options, mode, &cwd, &context.podman, ui)?;
    let info = resolve_image(image, options, &context.podman, ui)?;
    let disks = disks(options, &cwd, info.bytes)?;
    let (runner, qemu) = resolve_qemu(options, info.arch, &context.podman, ui)?;
    let resolved = Resolved {
        image: info.identity,
        arch: info.arch,
        accel: vm::accelerator(&options.guest, info.arch, ui)?,
        qemu,
        network: guest_network(
            options
                .network
                .as_deref()
                .map(|name| (&context.podman, name)),
        ),
    };
    let ports = inputs.ports();
    let (spec, key) = vm::spec(&options.guest, resolved, inputs.env, ports)?;
    let spec = VmSpec {
        shares: inputs.shares,
        host_storage: options.bind_storage_ro,
        disks: disks.iter().map(|resolved| resolved.disk.clone()).collect(),
        units: inputs.units,
        ignition: inputs.ignition.is_some(),
        cloud_init: inputs.cloud_init.is_some(),
        lifetime: mode.lifetime,
        console: if mode.interactive {
            Console::Interactive
        } else {
            Console::Log
        },
        domain: options
            .network
            .as_deref()
            .and_then(domain)
            .map(str::to_owned),
        expose: exposed(options),
        logs: inputs.logs,
        serial_ports: inputs.serial_ports,
        ..spec
    };
    let exe = env::current_exe().map_err(CommandError::io("find bcvk's own file"))?;
    spec.host_paths()
        .chain([&*exe, context.dirs.path()])
        .try_for_each(check_path)?;
    // The user trusts the runner, whose image is then that of the container.
    let claims = if runner.is_some() {
        ImageClaims::default()
    } else {
        info.claims
    };
    Ok(Launch {
        limits: container_limits(&spec),
        ulimits: ulimits(),
        spec,
        exe,
        runner,
        claims,
        remove: mode.remove,
        interactive: mode.interactive,
        tty: mode.tty,
        labels: options.label.clone(),
        network: options.network.clone(),
        publish: inputs.publish,
        key,
        new_disks: disks.into_iter().filter_map(|disk| disk.new).collect(),
        ignition: inputs.ignition,
        cloud_init: inputs.cloud_init,
        resumes: Vec::new(),
        saves: Vec::new(),
        layers: info.layers,
    })
}

/// Finds the image, or pulls it, and tells the user what may come as a surprise.
fn resolve_image(
    image: &str,
    options: &VmOptions,
    podman: &Podman,
    ui: &Ui,
) -> Result<ImageInfo, CommandError> {
    let info = ImageInfo::resolve(podman, image, options.pull, ui.quiet())?;
    if let Some(annotation) = info.claims.steering() {
        return Err(ImageError::SteersRuntime {
            reference: image.to_owned(),
            annotation: annotation.to_owned(),
        }
        .into());
    }
    tell_of_the_image(image, &info, options, ui);
    let by_network = !options.guest.no_ssh_keygen && options.guest.login == Login::Image;
    if options.network.as_deref() == Some("host") && by_network {
        ui.notice(&Notice::OpenToHost);
    }
    Ok(info)
}

/// Finds the QEMU that runs guests of `arch`: in a runner's image, if one is given, or on the host.
fn resolve_qemu(
    options: &VmOptions,
    arch: Arch,
    podman: &Podman,
    ui: &Ui,
) -> Result<(Option<Runner>, PathBuf), CommandError> {
    match options.runner.as_deref() {
        Some(runner) => {
            let runner = Runner::resolve(podman, runner, arch, options.pull, ui.quiet())?;
            let qemu = runner.qemu.clone();
            Ok((Some(runner), qemu))
        }
        None => Ok((None, find_tool(Tool::Qemu(arch))?)),
    }
}

/// Warns of properties of an image that may come as a surprise later.
fn tell_of_the_image(image: &str, info: &ImageInfo, options: &VmOptions, ui: &Ui) {
    if !info.bootable {
        ui.warning(&Notice::NotBootable { image });
    }
    if options.bind_storage_ro {
        ui.warning(&Notice::ReplacedDirectories);
    }
}

fn check_output(options: &VmOptions, mode: RunMode) -> Result<(), UsageError> {
    let commands_alone = options.guest.purpose().executes() && mode.lifetime == Lifetime::Detached;
    match options.guest.output {
        Some(Output::Stream(Stream::Journal)) if commands_alone => {
            Err(UsageError::StreamOverCommand("--output journal"))
        }
        _ if commands_alone && options.console => Err(UsageError::StreamOverCommand("--console")),
        _ => Ok(()),
    }
}

fn shares(options: &VmOptions, cwd: &Path, podman: &Podman) -> Result<Vec<Share>, CommandError> {
    let writable = options.bind.iter().map(|request| (request, false));
    let read_only = options.ro_bind.iter().map(|request| (request, true));
    let volumes = options.volume.iter();
    let volumes = volumes.map(|volume| (&volume.share, volume.read_only));
    let requests = writable.chain(read_only).chain(volumes);
    let mut shares = requests
        .enumerate()
        .map(|(index, (request, read_only))| Ok(resolve_share(request, cwd, index, read_only)?))
        .collect::<Result<Vec<Share>, CommandError>>()?;
    if options.bind_storage_ro {
        shares.push(Share {
            tag: STORAGE_TAG.to_owned(),
            host: podman.storage()?,
            guest_path: STORAGE_GUEST_PATH.into(),
            read_only: true,
        });
    }
    Ok(shares)
}

fn disks(
    options: &VmOptions,
    cwd: &Path,
    image_bytes: u64,
) -> Result<Vec<ResolvedDisk>, CommandError> {
    let disks = options
        .mount_disk_file
        .iter()
        .map(|request| resolve_disk(request, cwd, image_bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let of_vm: Vec<_> = disks.iter().map(|resolved| resolved.disk.clone()).collect();
    check_disks(&of_vm)?;
    Ok(disks)
}

fn serial_ports(options: &VmOptions, cwd: &Path) -> Result<Vec<SerialPort>, CommandError> {
    options
        .virtio_serial_out
        .iter()
        .map(|port| {
            Ok(SerialPort {
                name: port.name.clone(),
                host: output_file(&port.host, cwd)?,
            })
        })
        .collect()
}

fn logs(options: &VmOptions, cwd: &Path) -> Result<Option<KeptLogs>, CommandError> {
    let Some(logs) = &options.log_dir else {
        return Ok(None);
    };
    Ok(Some(KeptLogs {
        streams: logs.streams.clone(),
        host: output_directory(&logs.dir, cwd)?,
    }))
}

fn published(options: &VmOptions) -> Result<Vec<PortForward>, UsageError> {
    if !options.guest.publish.is_empty() && options.network.as_deref() == Some("host") {
        return Err(UsageError::PublishOnHostNetwork);
    }
    Ok(options.guest.publish.clone())
}

/// Returns the ports that neighbours reach: none where the network is not the VM's own.
fn exposed(options: &VmOptions) -> Expose {
    match options.network.as_deref() {
        Some(network) if !has_neighbours(network) => Expose::None,
        _ => options.guest.expose,
    }
}
