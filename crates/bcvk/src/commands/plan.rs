//! From options to a [`Launch`]: everything is checked here, before anything is started.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use bcvk_vm::host::podman::{Podman, check_path};
use bcvk_vm::host::{
    HostError, ImageClaims, ImageInfo, Launch, ResolvedDisk, Runner, Tool, allow_open_files,
    check_memory, container_limits, find_tool, output_directory, output_file, read_ignition,
    read_units, resolve_disk,
};
use bcvk_vm::linkage::check_static;
use bcvk_vm::spec::{
    Console, GuestPort, KeptLogs, Lifetime, PortForward, Purpose, STORAGE_GUEST_PATH, STORAGE_TAG,
    SerialPort, Share, ShareRequest, SpecError, Stream, VmSpec, check_disks, check_ignition,
    check_serial_ports, check_shares,
};

use super::Context;
use super::vm::{self, Place};
use crate::cli::{Output, VmOptions};
use crate::ui::{Notice, Ui};

/// First of the container's ports that lead to published ports of the guest. Unprivileged,
/// because QEMU has no rights, and away from sshd's.
const FIRST_PUBLISHED_PORT: u16 = 20_000;

/// How the verb wants its VM.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) interactive: bool,
    pub(super) tty: bool,
    pub(super) remove: bool,
    pub(super) lifetime: Lifetime,
}

/// Resolves the options against the host.
pub(super) fn plan(
    image: &str,
    options: &VmOptions,
    manner: Manner,
    context: &Context,
    ui: &Ui,
) -> Result<Launch, HostError> {
    check_static()?;
    allow_open_files()?;
    let guest = &options.guest;
    let cwd = env::current_dir().map_err(HostError::io("find the current directory"))?;
    let shares = shares(options, &cwd, &context.podman)?;
    check_shares(&shares)?;
    let serial_ports = serial_ports(options, &cwd)?;
    check_serial_ports(&serial_ports)?;
    let logs = logs(options, &cwd)?;
    let units = options.systemd_units.as_deref().map(read_units);
    let units = units.transpose()?.unwrap_or_default();
    check_ignition(options.ignition.is_some(), guest.initramfs)?;
    let ignition = options.ignition.as_deref().map(read_ignition);
    let ignition = ignition.transpose()?;
    check_output(options, manner)?;
    let publish = published(options)?;
    let env = vm::environment(&guest.env, ui)?;
    check_memory(vm::memory(guest))?;
    let info = ImageInfo::resolve(&context.podman, image, options.pull, ui.quiet())?;
    if let Some(annotation) = info.claims.steering() {
        return Err(HostError::ImageSteersRuntime {
            reference: image.to_owned(),
            annotation: annotation.to_owned(),
        });
    }
    tell_of_the_image(image, &info, options, ui);
    if options.network.as_deref() == Some("host") && !guest.no_ssh_keygen {
        ui.notice(&Notice::OpenToHost);
    }
    let disks = disks(options, &cwd, info.bytes)?;
    let runner = options.runner.as_deref().map(|runner| {
        Runner::resolve(&context.podman, runner, info.arch, options.pull, ui.quiet())
    });
    let runner = runner.transpose()?;
    let qemu = match &runner {
        Some(runner) => runner.qemu.clone(),
        None => find_tool(Tool::Qemu(info.arch))?,
    };
    let place = Place {
        image: info.identity,
        arch: info.arch,
        accel: vm::accelerator(guest.accel, info.arch, ui)?,
        qemu,
    };
    let ports = publish.iter().map(|(forward, container)| GuestPort {
        container: *container,
        guest: forward.guest_port,
        protocol: forward.protocol,
    });
    let (spec, key) = vm::spec(guest, place, env, ports.collect())?;
    let spec = VmSpec {
        shares,
        host_storage: options.bind_storage_ro,
        disks: disks.iter().map(|resolved| resolved.disk.clone()).collect(),
        units,
        ignition: ignition.is_some(),
        lifetime: manner.lifetime,
        console: if manner.interactive {
            Console::Interactive
        } else {
            Console::Log
        },
        logs,
        serial_ports,
        ..spec
    };
    let exe = env::current_exe().map_err(HostError::io("find bcvk's own file"))?;
    spec.host_paths()
        .chain([&*exe, context.dirs.path()])
        .try_for_each(check_path)?;
    // A runner is what its user trusts; its image is the container's then.
    let claims = if runner.is_some() {
        ImageClaims::default()
    } else {
        info.claims
    };
    Ok(Launch {
        limits: container_limits(&spec),
        spec,
        exe,
        runner,
        claims,
        remove: manner.remove,
        interactive: manner.interactive,
        tty: manner.tty,
        labels: options.label.clone(),
        network: options.network.clone(),
        publish,
        key,
        new_disks: disks.into_iter().filter_map(|disk| disk.new).collect(),
        ignition,
        snapshot: None,
    })
}

/// What of an image may come as a surprise later.
fn tell_of_the_image(image: &str, info: &ImageInfo, options: &VmOptions, ui: &Ui) {
    if !info.bootable {
        ui.warning(&Notice::NotBootable { image });
    }
    if options.bind_storage_ro {
        ui.warning(&Notice::ReplacedDirectories);
    }
}

fn check_output(options: &VmOptions, manner: Manner) -> Result<(), SpecError> {
    let commands_alone = match options.guest.purpose() {
        Purpose::Execute => manner.lifetime == Lifetime::Detached,
        Purpose::Login | Purpose::Boot => false,
    };
    if commands_alone && options.guest.output == Some(Output::Stream(Stream::Journal)) {
        return Err(SpecError::JournalOverCommand);
    }
    Ok(())
}

fn shares(options: &VmOptions, cwd: &Path, podman: &Podman) -> Result<Vec<Share>, HostError> {
    let requests = options
        .bind
        .iter()
        .map(|request| (request, false))
        .chain(options.ro_bind.iter().map(|request| (request, true)));
    let mut shares = requests
        .enumerate()
        .map(|(index, (request, read_only))| {
            let option = if read_only { "--ro-bind" } else { "--bind" };
            let request = ShareRequest::parse_in(request, cwd).map_err(in_option(option))?;
            share(index, &request, read_only)
        })
        .collect::<Result<Vec<Share>, HostError>>()?;
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
) -> Result<Vec<ResolvedDisk>, HostError> {
    let disks = options
        .mount_disk_file
        .iter()
        .map(|request| resolve_disk(request, cwd, image_bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let of_vm: Vec<_> = disks.iter().map(|resolved| resolved.disk.clone()).collect();
    check_disks(&of_vm)?;
    Ok(disks)
}

fn serial_ports(options: &VmOptions, cwd: &Path) -> Result<Vec<SerialPort>, HostError> {
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

fn logs(options: &VmOptions, cwd: &Path) -> Result<Option<KeptLogs>, HostError> {
    let Some(logs) = &options.log_dir else {
        return Ok(None);
    };
    Ok(Some(KeptLogs {
        streams: logs.streams.clone(),
        host: output_directory(&logs.dir, cwd)?,
    }))
}

fn share(index: usize, request: &ShareRequest, read_only: bool) -> Result<Share, HostError> {
    let missing = |source| HostError::ShareSource {
        path: request.host.clone(),
        source,
    };
    let host: PathBuf = fs::canonicalize(&request.host).map_err(missing)?;
    if !fs::metadata(&host).map_err(missing)?.is_dir() {
        return Err(HostError::ShareNotDirectory(request.host.clone()));
    }
    Ok(Share {
        tag: request.tag(index),
        host,
        guest_path: request.guest_path(),
        read_only,
    })
}

pub(super) fn in_option(option: &'static str) -> impl FnOnce(SpecError) -> HostError {
    move |source| HostError::Option { option, source }
}

fn published(options: &VmOptions) -> Result<Vec<(PortForward, u16)>, SpecError> {
    if !options.guest.publish.is_empty() && options.network.as_deref() == Some("host") {
        return Err(SpecError::PublishOnHostNetwork);
    }
    Ok(options
        .guest
        .publish
        .iter()
        .zip(FIRST_PUBLISHED_PORT..)
        .map(|(forward, port)| (*forward, port))
        .collect())
}
