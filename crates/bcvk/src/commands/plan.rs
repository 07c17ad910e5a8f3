//! From options to a [`Launch`]: everything is checked here, before anything is started.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use bcvk_vm::host::podman::{Podman, check_path};
use bcvk_vm::host::{
    HostError, ImageInfo, Launch, ResolvedDisk, Tool, allow_open_files, check_memory,
    choose_accelerator, find_tool, output_directory, output_file, read_ignition, read_units,
    resolve_disk,
};
use bcvk_vm::spec::{
    Console, EnvVar, GuestPort, KeptLogs, Lifetime, MemorySize, PortForward, SPEC_VERSION,
    STORAGE_GUEST_PATH, STORAGE_TAG, SerialPort, Share, ShareRequest, SpecError, SshAccess, Stream,
    VmName, VmSpec, check_disks, check_ignition, check_serial_ports, check_shares,
};
use bcvk_vm::ssh::KeyPair;

use super::Context;
use crate::cli::VmOptions;
use crate::ui::Ui;

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
    allow_open_files()?;
    let cwd = env::current_dir().map_err(HostError::io("find the current directory"))?;
    let shares = shares(options, &cwd, &context.podman)?;
    check_shares(&shares)?;
    let serial_ports = serial_ports(options, &cwd)?;
    check_serial_ports(&serial_ports)?;
    let logs = logs(options, &cwd)?;
    let units = options.systemd_units.as_deref().map(read_units);
    let units = units.transpose()?.unwrap_or_default();
    check_ignition(options.ignition.is_some(), options.initramfs)?;
    let ignition = options.ignition.as_deref().map(read_ignition);
    let ignition = ignition.transpose()?;
    check_output(options, manner)?;
    let publish = published(options)?;
    let env = environment(&options.env, ui)?;
    let (vcpus, memory) = size(options);
    check_memory(memory)?;
    let info = ImageInfo::resolve(&context.podman, image, options.pull, ui.quiet())?;
    tell_of_the_image(image, &info, options, ui);
    let disks = disks(options, &cwd, info.bytes)?;
    let qemu = find_tool(Tool::Qemu(info.arch))?;
    let accel = choose_accelerator(options.accel, info.arch)?;
    if let Some(notice) = &accel.notice {
        ui.notice(notice);
    }
    let name = match &options.name {
        Some(name) => name.clone(),
        None => random_name()?,
    };
    let key = if options.no_ssh_keygen {
        None
    } else {
        Some(new_key(&format!("bcvk {name}"))?)
    };
    let host_key = new_key(name.as_str())?;
    let spec = VmSpec {
        version: SPEC_VERSION,
        name,
        image: info.identity,
        arch: info.arch,
        accel: accel.accel,
        vcpus,
        memory,
        qemu,
        kargs: options.karg.clone(),
        shares,
        host_storage: options.bind_storage_ro,
        disks: disks.iter().map(|resolved| resolved.disk.clone()).collect(),
        swap: options.add_swap,
        units,
        ignition: ignition.is_some(),
        execute: options.execute.clone(),
        ports: publish
            .iter()
            .map(|(forward, container)| GuestPort {
                container: *container,
                guest: forward.guest_port,
                protocol: forward.protocol,
            })
            .collect(),
        env,
        ssh: key.as_ref().map(|key| SshAccess {
            authorized_key: key.public().to_owned(),
        }),
        host_key: host_key.private().to_owned(),
        fidelity: options.fidelity,
        initramfs: options.initramfs,
        snapshot: None,
        lifetime: manner.lifetime,
        console: if manner.interactive {
            Console::Interactive
        } else {
            Console::Log
        },
        output: options.output.unwrap_or_default(),
        logs,
        serial_ports,
    };
    let exe = env::current_exe().map_err(HostError::io("find bcvk's own file"))?;
    spec.host_paths()
        .chain([&*exe, context.dirs.path()])
        .try_for_each(check_path)?;
    Ok(Launch {
        spec,
        exe,
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
        ui.notice(&format!(
            "image {image} does not say that it is bootable (label containers.bootc)"
        ));
    }
    if options.bind_storage_ro {
        // overlayfs marks them by an attribute `trusted.…`, and to read that the file server
        // would need CAP_SYS_ADMIN.
        ui.notice(
            "where a layer of a host image replaces a whole directory, podman in the VM also sees \
             what earlier layers had there",
        );
    }
}

fn check_output(options: &VmOptions, manner: Manner) -> Result<(), SpecError> {
    let commands_alone = manner.lifetime == Lifetime::Detached && !options.execute.is_empty();
    if commands_alone && options.output == Some(Stream::Journal) {
        return Err(SpecError::JournalOverCommand);
    }
    Ok(())
}

fn size(options: &VmOptions) -> (u32, MemorySize) {
    match options.itype {
        Some(itype) => (itype.vcpus(), itype.memory()),
        None => (options.vcpus.unwrap_or_else(host_cpus), options.memory),
    }
}

fn host_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1))
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

fn environment(words: &[String], ui: &Ui) -> Result<Vec<EnvVar>, HostError> {
    let mut env = Vec::new();
    for word in words {
        let var = EnvVar::parse(word, |name| env::var(name).ok()).map_err(in_option("--env"))?;
        env.extend(var);
    }
    for var in env.iter().filter(|var| var.value.contains('#')) {
        ui.notice(&format!(
            "sessions see {} only up to its '#', which begins a comment in /etc/environment; \
             services see all of it",
            var.name
        ));
    }
    Ok(env)
}

fn in_option(option: &'static str) -> impl FnOnce(SpecError) -> HostError {
    move |source| HostError::Option { option, source }
}

fn published(options: &VmOptions) -> Result<Vec<(PortForward, u16)>, SpecError> {
    if !options.publish.is_empty() && options.network.as_deref() == Some("host") {
        return Err(SpecError::PublishOnHostNetwork);
    }
    Ok(options
        .publish
        .iter()
        .zip(FIRST_PUBLISHED_PORT..)
        .map(|(forward, port)| (*forward, port))
        .collect())
}

fn new_key(comment: &str) -> Result<KeyPair, HostError> {
    KeyPair::generate(comment).map_err(|e| HostError::Io {
        action: "make SSH keys".to_owned(),
        source: std::io::Error::other(e),
    })
}

fn random_name() -> Result<VmName, HostError> {
    let mut random = [0_u8; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| HostError::io("get randomness")(e.into()))?;
    Ok(format!("bcvk-{:08x}", u32::from_be_bytes(random)).parse()?)
}
