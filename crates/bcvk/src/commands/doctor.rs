//! `bcvk doctor`: everything that a VM needs of its host, looked at before it is needed.

use std::process::ExitCode;

use bcvk_contract::spec::{Accelerator, Arch, MemorySize};
use bcvk_host::podman::Podman;
use bcvk_host::{
    AccelRequest, HostError, Tool, Version, allow_open_files, available_memory, check_memory,
    check_sub_ids, check_user_network, choose_accelerator, find_tool, free_space, try_container,
};
use bcvk_supervisor::{LandlockSupport, landlock_support};

use super::{vm_dirs, warm};
use crate::cli::Doctor;
use crate::error::CommandError;
use crate::ui::{Finding, Severity, Ui};

/// The oldest podman that bcvk has been tried with.
const PODMAN: Version = Version { major: 4, minor: 3 };

/// The oldest QEMU whose emulated processor runs current kernels: 7.2 gets cmpxchg16b wrong, and
/// guests with Linux 6.12 crash early.
const QEMU: Version = Version { major: 8, minor: 0 };

/// Memory that a VM has if nobody says otherwise.
const MEMORY: MemorySize = MemorySize::from_mib(4096);

/// Room for an image or two.
const STORAGE: u64 = 2 << 30;

/// Room for one VM's console and status.
const VM_DIR: u64 = 64 << 20;

pub(super) fn doctor(args: &Doctor, ui: &Ui) -> Result<ExitCode, CommandError> {
    let findings = examine();
    if args.form.json {
        ui.json(&findings)?;
    } else {
        ui.findings(&findings);
    }
    let errors = findings.iter().any(|f| f.severity == Severity::Error);
    Ok(ExitCode::from(u8::from(errors)))
}

fn examine() -> Vec<Finding> {
    let mut findings = vec![Finding::of("open files", open_files())];
    findings.push(program("podman", Tool::Podman, PODMAN));
    let podman = find_tool(Tool::Podman).ok().map(Podman::new);
    let mut containers_work = false;
    if let Some(podman) = &podman {
        let trial = vm_dirs().and_then(|dirs| Ok(try_container(podman, &dirs)?));
        containers_work = trial.is_ok();
        findings.push(Finding::of(
            "containers",
            trial.map(|()| "one was started, and has ended".to_owned()),
        ));
        findings.push(storage(podman));
    }
    findings.push(sub_ids(containers_work));
    findings.push(Finding::of("ssh", tool(Tool::Ssh)));
    findings.extend(machine());
    findings.push(
        Finding::of("qemu-img", tool(Tool::QemuImg))
            .at_most_a_warning("--mount-disk-file makes no disks"),
    );
    findings.push(landlock());
    findings.push(memory());
    findings.push(vm_directory());
    findings.push(snapshots());
    findings
}

fn open_files() -> Result<String, HostError> {
    allow_open_files().map(|()| "enough may be open".to_owned())
}

/// Describes a tool by its version and its path.
fn tool(tool: Tool) -> Result<String, HostError> {
    let path = find_tool(tool)?;
    Ok(match Version::of(tool, &path) {
        Some(version) => format!("{version}, {}", path.display()),
        None => path.display().to_string(),
    })
}

/// Checks a tool that is known to work from version `least` on.
fn program(check: &'static str, wanted: Tool, least: Version) -> Finding {
    let version = find_tool(wanted)
        .ok()
        .and_then(|path| Version::of(wanted, &path));
    match version {
        Some(found) if found < least => Finding::warning(
            check,
            format!("{found} is older than any that bcvk has been tried with"),
            Some(format!("install {least} or newer")),
        ),
        _ => Finding::of(check, tool(wanted)),
    }
}

fn sub_ids(containers_work: bool) -> Finding {
    let found = check_sub_ids().map(|()| {
        if rustix::process::geteuid().is_root() {
            "root needs none".to_owned()
        } else {
            "enough for rootless containers".to_owned()
        }
    });
    let finding = Finding::of("subordinate IDs", found);
    if containers_work {
        finding.at_most_a_warning("images with users of many IDs cannot be stored")
    } else {
        finding
    }
}

fn storage(podman: &Podman) -> Finding {
    let free = podman
        .storage()
        .map_err(CommandError::from)
        .and_then(|path| {
            let free = free_space(&path).map_err(CommandError::io("look at podman's storage"))?;
            Ok((path, free))
        });
    match free {
        Ok((path, free)) if free < STORAGE => Finding::warning(
            "storage",
            format!("{} free at {}", crate::ui::size(free), path.display()),
            Some(
                "`podman system df` shows what fills it, `podman image prune` removes images that \
                 have no name any more"
                    .to_owned(),
            ),
        ),
        free => Finding::of(
            "storage",
            free.map(|(path, free)| {
                format!("{} free at {}", crate::ui::size(free), path.display())
            }),
        ),
    }
}

/// Checks QEMU, and how fast guests are.
fn machine() -> Vec<Finding> {
    let arch = match std::env::consts::ARCH.parse::<Arch>() {
        Ok(arch) => arch,
        Err(error) => return vec![Finding::of("processor", Err(error))],
    };
    let accel = match choose_accelerator(AccelRequest::Auto, arch) {
        Ok(choice) => choice,
        Err(error) => return vec![Finding::of("KVM", Err(error))],
    };
    let qemu = Tool::Qemu(arch);
    let version = find_tool(qemu)
        .ok()
        .and_then(|path| Version::of(qemu, &path));
    let qemu = match version {
        Some(found) if found < QEMU && accel.accel == Accelerator::Tcg => Finding::warning(
            "QEMU",
            format!("{found} emulates badly: guests with current kernels crash early"),
            Some(format!(
                "install {QEMU} or newer; for Debian 12, `apt-get install -t bookworm-backports \
                 qemu-system-x86`"
            )),
        ),
        _ => Finding::of("QEMU", usable_qemu(qemu)),
    };
    let kvm = match accel.notice {
        None => Finding::ok("KVM", "works".to_owned()),
        // The notice says what can be done, if anything can.
        Some(notice) => Finding::warning("KVM", notice, None),
    };
    vec![qemu, kvm]
}

/// Describes QEMU, if it has what a VM needs.
fn usable_qemu(qemu: Tool) -> Result<String, HostError> {
    check_user_network(&find_tool(qemu)?)?;
    tool(qemu)
}

/// Checks for the confinement that VMs have besides their users, capabilities and system calls.
fn landlock() -> Finding {
    const CHECK: &str = "Landlock";

    let newer = || Some("Linux 6.12 and newer know all of it".to_owned());
    match landlock_support() {
        LandlockSupport::Whole => Finding::ok(CHECK, "confines QEMU and file servers".to_owned()),
        LandlockSupport::Partial => Finding::warning(
            CHECK,
            "this kernel confines what QEMU and file servers open, but not whom they signal and connect to"
                .to_owned(),
            newer(),
        ),
        LandlockSupport::None => Finding::warning(
            CHECK,
            "this kernel does not have it, or not turned on: less keeps QEMU and file servers in their places"
                .to_owned(),
            Some(
                "Linux 6.12 and newer know all of it; the kernel's argument `lsm=` names what is turned on"
                    .to_owned(),
            ),
        ),
    }
}

fn memory() -> Finding {
    let available = available_memory().map_or_else(
        || "nobody says how much there is".to_owned(),
        |available| format!("{available} available"),
    );
    match check_memory(MemorySize::MIN) {
        Err(error) => Finding::of("memory", Err(error)),
        Ok(()) => Finding::of("memory", check_memory(MEMORY).map(|()| available))
            .at_most_a_warning("smaller VMs fit"),
    }
}

/// Tells what the snapshots of `--warm` take.
fn snapshots() -> Finding {
    const CHECK: &str = "snapshots";

    match warm::usage() {
        Ok((0, _)) => Finding::ok(CHECK, "none: --warm auto makes them".to_owned()),
        Ok((count, bytes)) => Finding::ok(
            CHECK,
            format!(
                "{count}, with {} of at most {}",
                crate::ui::size(bytes),
                crate::ui::size(warm::MOST_BYTES)
            ),
        ),
        Err(error) => Finding::of(CHECK, Err(CommandError::io("look at them")(error)))
            .at_most_a_warning("VMs boot"),
    }
}

fn vm_directory() -> Finding {
    const CHECK: &str = "VM directory";

    let dirs = match vm_dirs() {
        Ok(dirs) => dirs,
        Err(error) => return Finding::of(CHECK, Err(error)),
    };
    let path = dirs.path().display();
    match free_space(dirs.path()) {
        Ok(free) if free < VM_DIR => Finding::warning(
            CHECK,
            format!("{} free at {path}", crate::ui::size(free)),
            Some(format!(
                "`df -h {path}` shows how full it is; `bcvk ephemeral ps -a` lists the VMs that have \
                 files there"
            )),
        ),
        Ok(free) => Finding::ok(CHECK, format!("{} free at {path}", crate::ui::size(free))),
        Err(error) => Finding::of(
            CHECK,
            Err(CommandError::io(format!("look at {path}"))(error)),
        ),
    }
}
