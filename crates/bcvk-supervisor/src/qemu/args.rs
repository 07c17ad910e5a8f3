//! QEMU's argument list as a pure function.
//!
//! The list is the same for the same VM: a saved state can only be resumed by a QEMU with the same
//! machine. So every device has its address, and everything that differs from start to start comes in
//! through descriptors and files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bcvk_contract::guest_port;
use bcvk_contract::spec::{Accelerator, Arch, Fidelity, SnapshotStage, VmSpec};

use super::disks::{disks, node};
use crate::ports::ports;
use crate::sshd::Ports;

/// virtiofs tag of the guest's root.
pub(crate) const ROOT_TAG: &str = "rootfs";

/// A port of the guest on which nothing listens: tcpmux (RFC 1078), which nobody runs.
const GUEST_CLOSED_PORT: u16 = 1;

/// Everything that a QEMU of ours is made of.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) spec: &'a VmSpec,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) cmdline: String,
    /// File that is the guest's memory; shared, so that file servers see it and it can be saved.
    pub(crate) memory: PathBuf,
    /// File from which Ignition reads its configuration.
    pub(crate) ignition: Option<PathBuf>,
    /// Open files of `spec.disks`, then those of the swap device and of `/var`. They are descriptors,
    /// because QEMU has no right to open files that belong to somebody else.
    pub(crate) disk_fds: Vec<i32>,
    /// Sockets of the VM's further virtio-serial ports.
    pub(crate) port_fds: Vec<i32>,
    /// Socket of the image's file server.
    pub(crate) root_fd: i32,
    /// Sockets of file servers, one for each share that the VM has, or is given later.
    pub(crate) share_fds: Vec<i32>,
    /// Ports of the container's loopback that lead to the guest's sshd and to a closed port, if it is
    /// the way in.
    pub(crate) ports: Option<Ports>,
    /// Socket of the port for sessions, if that is the way in.
    pub(crate) sessions_fd: Option<i32>,
    /// Descriptors of a machine that is saved or resumed; `None` for any other.
    pub(crate) warm: Option<WarmFds>,
    /// File for the states of checkpoints.
    pub(crate) store_fd: i32,
    pub(crate) console_fd: i32,
    pub(crate) control_fd: i32,
    pub(crate) monitor_fd: i32,
}

/// Descriptors for a machine that is saved or resumed.
#[derive(Debug, Clone)]
pub(crate) struct WarmFds {
    /// File with the state that the machine waits for instead of booting.
    pub(crate) incoming: Option<i32>,
    /// Files for the machine's state, by the stage at which it is saved.
    pub(crate) states: Vec<(SnapshotStage, i32)>,
    /// Socket of the agent's port.
    pub(crate) agent: i32,
}

/// Number of the descriptor set that has the file with the state that a machine waits for.
const INCOMING_SET: u32 = 100;

/// Returns the number of the descriptor set that has the file for a machine's state at this stage.
const fn state_set(stage: SnapshotStage) -> u32 {
    match stage {
        SnapshotStage::Early => 101,
        SnapshotStage::Ready => 102,
    }
}

/// Returns the URI at which QEMU finds the file with the state that it waits for.
pub(crate) fn incoming_uri() -> String {
    format!("file:/dev/fdset/{INCOMING_SET}")
}

/// Returns the URI at which QEMU finds the file for its machine's state at this stage.
pub(crate) fn state_uri(stage: SnapshotStage) -> String {
    format!("file:/dev/fdset/{}", state_set(stage))
}

/// Descriptor set with the file for the states of checkpoints.
pub(crate) const STORE_SET: u32 = 103;

/// Bus that devices are plugged into while the machine runs. One conventional bridge has as many
/// slots as anybody needs. Root ports have one slot each, and the guest has to look at each of them
/// in every boot.
pub(crate) const SPARE_BUS: &str = "spare";

/// Device numbers on the root bus. Disks are from [`slot::FIRST_DISK`] on, shares from
/// [`slot::FIRST_SHARE`].
mod slot {
    pub(super) const NET: u8 = 0x2;
    pub(super) const SERIAL: u8 = 0x3;
    pub(super) const RNG: u8 = 0x4;
    pub(super) const ROOT: u8 = 0x5;
    pub(super) const FIRST_DISK: u8 = 0x6;
    pub(super) const FIRST_SHARE: u8 = 0x8;
    /// Number of the bridge to [`super::SPARE_BUS`]; there are no disks and shares then.
    pub(super) const SPARE: u8 = 0x1d;
    /// Slot of the disk of `/var`, the last one, so that it takes no letter from the user's disks.
    pub(super) const VAR: u8 = 0x1e;
    /// Number of functions of one slot; the last slot before the chipset's own is 0x1e.
    pub(super) const FUNCTIONS: u8 = 8;
}

/// Returns the arguments, without the program.
pub(crate) fn args(machine: &Machine<'_>) -> Vec<OsString> {
    let mut args = Args(Vec::new());
    add_process(&mut args);
    add_board(&mut args, machine);
    add_kernel(&mut args, machine);
    add_console_and_monitor(&mut args, machine);
    add_serial_bus(&mut args, machine);
    args.device(&format!("virtio-rng-pci,{}", at(slot::RNG)));
    if let Some(config) = &machine.ignition {
        args.path_opt("-fw_cfg", "name=opt/com.coreos/config,file=", config);
    }
    add_network(&mut args, machine);
    add_disks(&mut args, machine);
    args.opt(
        "-add-fd",
        &format!("fd={},set={STORE_SET}", machine.store_fd),
    );
    if machine.warm.is_some() || machine.spec.arch == Arch::X86_64 {
        // A new GUID tells the guest's kernel to renew its randomness. Each QEMU has one; a guest
        // that is taken back to a checkpoint finds another in its memory.
        args.device("vmgenid,guid=auto");
    }
    if let Some(warm) = &machine.warm {
        add_warm(&mut args, warm);
    }
    add_file_servers(&mut args, machine);
    args.0
}

/// Adds what holds for QEMU itself, whatever its machine.
fn add_process(args: &mut Args) {
    args.flag("-no-user-config");
    args.flag("-nodefaults");
    args.opt("-display", "none");
    // The guest's writes are in its memory, so that another boot would be another machine.
    args.flag("-no-reboot");
    // QEMU needs none of these calls once it runs; a guest that breaks out of it should not have
    // them.
    args.opt(
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    );
}

/// Adds the machine's type, its processors and its memory.
fn add_board(args: &mut Args, machine: &Machine<'_>) {
    let spec = machine.spec;
    args.opt("-name", &format!("guest={}", spec.name));
    args.opt("-machine", machine_type(spec.arch));
    args.opt("-accel", accelerator(spec.accel));
    args.opt("-cpu", &cpu(spec));
    args.opt("-smp", &format!("cpus={}", spec.vcpus));
    args.opt("-m", &format!("size={}M", spec.memory.mib()));
    args.path_opt(
        "-object",
        &format!(
            "memory-backend-file,id=memory,share=on,size={}M,mem-path=",
            spec.memory.mib()
        ),
        &machine.memory,
    );
}

fn add_kernel(args: &mut Args, machine: &Machine<'_>) {
    args.raw("-kernel", &machine.kernel);
    args.raw("-initrd", &machine.initrd);
    args.opt("-append", &machine.cmdline);
}

fn add_console_and_monitor(args: &mut Args, machine: &Machine<'_>) {
    args.opt(
        "-chardev",
        &format!("socket,id=console,fd={}", machine.console_fd),
    );
    args.opt("-serial", "chardev:console");
    args.opt(
        "-chardev",
        &format!("socket,id=monitor,fd={}", machine.monitor_fd),
    );
    args.opt("-mon", "chardev=monitor,mode=control");
}

/// Adds the virtio-serial bus with the control port and the ports of the VM's options.
fn add_serial_bus(args: &mut Args, machine: &Machine<'_>) {
    args.device(&format!("virtio-serial-pci,id=serial,{}", at(slot::SERIAL)));
    args.opt(
        "-chardev",
        &format!("socket,id=control,fd={}", machine.control_fd),
    );
    args.device(&format!(
        "virtserialport,bus=serial.0,nr={},chardev=control,name={}control",
        guest_port::CONTROL,
        guest_port::NAME_PREFIX
    ));
    if let Some(fd) = machine.sessions_fd {
        args.opt("-chardev", &format!("socket,id=sessions,fd={fd}"));
        args.device(&format!(
            "virtserialport,bus=serial.0,nr={},chardev=sessions,name={}sessions",
            guest_port::SESSIONS,
            guest_port::NAME_PREFIX
        ));
    }
    add_ports(args, machine);
}

fn add_network(args: &mut Args, machine: &Machine<'_>) {
    let spec = machine.spec;
    args.opt("-netdev", &user_network(spec, machine.ports));
    // The device has no option ROM: nobody boots from the network here.
    args.device(&format!(
        "virtio-net-pci,netdev=net,romfile=,{}",
        at(slot::NET)
    ));
}

/// Adds the image, the shares, and sockets for shares that are plugged in later.
fn add_file_servers(args: &mut Args, machine: &Machine<'_>) {
    args.opt(
        "-chardev",
        &format!("socket,id=root,fd={}", machine.root_fd),
    );
    args.device(&format!(
        "vhost-user-fs-pci,chardev=root,tag={ROOT_TAG},queue-size=1024,{}",
        at(slot::ROOT)
    ));
    for (index, fd) in machine.share_fds.iter().enumerate() {
        args.opt("-chardev", &format!("socket,id=share{index},fd={fd}"));
    }
    for (index, share) in machine.spec.shares.iter().enumerate() {
        args.device(&format!(
            "vhost-user-fs-pci,chardev=share{index},tag={},queue-size=1024,{}",
            comma(&share.tag),
            function_of(slot::FIRST_SHARE, index)
        ));
    }
}

/// Adds what a machine needs in order to be saved, and to differ from others that are resumed.
fn add_warm(args: &mut Args, warm: &WarmFds) {
    let states = warm.states.iter();
    let states = states.map(|(stage, fd)| (*fd, state_set(*stage)));
    for (fd, set) in warm
        .incoming
        .map(|fd| (fd, INCOMING_SET))
        .into_iter()
        .chain(states)
    {
        args.opt("-add-fd", &format!("fd={fd},set={set}"));
    }
    args.opt("-chardev", &format!("socket,id=agent,fd={}", warm.agent));
    args.device(&format!(
        "virtserialport,bus=serial.0,nr={},chardev=agent,name={}agent",
        guest_port::AGENT,
        guest_port::NAME_PREFIX
    ));
    args.device(&format!(
        "pci-bridge,id={SPARE_BUS},chassis_nr=1,shpc=off,mem-reserve=1M,pref64-reserve=1M,{}",
        at(slot::SPARE)
    ));
    if warm.incoming.is_some() {
        args.opt("-incoming", "defer");
    }
}

fn add_ports(args: &mut Args, machine: &Machine<'_>) {
    for (port, fd) in ports(machine.spec).iter().zip(&machine.port_fds) {
        let number = port.number;
        args.opt("-chardev", &format!("socket,id=port{number},fd={fd}"));
        args.device(&format!(
            "virtserialport,bus=serial.0,nr={number},chardev=port{number},name={}",
            comma(&port.name)
        ));
    }
}

fn add_disks(args: &mut Args, machine: &Machine<'_>) {
    for (index, fd) in machine.disk_fds.iter().enumerate() {
        args.opt("-add-fd", &format!("fd={fd},set={}", disk_set(index)));
    }
    if machine.warm.is_some() {
        return;
    }
    for (index, disk) in disks(machine.spec).enumerate() {
        let (flush, address) = if disk.is_var {
            (",cache.no-flush=on", at(slot::VAR))
        } else {
            ("", function_of(slot::FIRST_DISK, index))
        };
        let node = node(index);
        args.opt(
            "-blockdev",
            &format!(
                "driver=file,node-name=file{index},filename=/dev/fdset/{},discard=unmap",
                disk_set(index)
            ),
        );
        args.opt(
            "-blockdev",
            &format!(
                "driver={},node-name={node},file=file{index},discard=unmap,\
                 detect-zeroes=unmap{flush}",
                disk.format
            ),
        );
        args.device(&format!(
            "virtio-blk-pci,drive={node},serial={},{address}",
            comma(disk.name)
        ));
    }
}

/// Returns the number of the descriptor set that has a disk's file.
pub(crate) fn disk_set(index: usize) -> usize {
    index + 1
}

/// Returns the machine type, without the controllers and clocks that no virtio guest uses but every
/// kernel probes.
fn machine_type(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "q35,memory-backend=memory,usb=off,vmport=off,smbus=off,sata=off,hpet=off",
        // Under KVM, `max` is the host's version (QEMU, docs/system/arm/virt: gic-version).
        Arch::Aarch64 => "virt,memory-backend=memory,gic-version=max",
    }
}

fn accelerator(accel: Accelerator) -> &'static str {
    match accel {
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg => "tcg,thread=multi",
    }
}

fn cpu(spec: &VmSpec) -> String {
    let model = match (spec.accel, spec.arch) {
        (Accelerator::Kvm, _) => "host",
        (Accelerator::Tcg, Arch::X86_64) => "max",
        // The architecture's own algorithm for signing pointers is slow to emulate, and every
        // function call of a guest built for it uses it (QEMU, docs/system/arm/cpu-features:
        // pauth-impdef).
        (Accelerator::Tcg, Arch::Aarch64) => "max,pauth-impdef=on",
    };
    let virtualisation = match (spec.arch, spec.accel, spec.nested) {
        // Only an emulated AMD processor has it, with nested page tables: without them, KVM in the
        // guest would write page tables of its own, each change of which costs an exit.
        (Arch::X86_64, Accelerator::Tcg, true) => ",svm=on,npt=on",
        // The guest would load kvm_amd and offer virtual machines that nobody could wait for.
        (Arch::X86_64, Accelerator::Tcg, false) => ",svm=off",
        // The host's kernel would emulate the rest of it for every guest: code that a guest without VMs
        // of its own only attacks.
        (Arch::X86_64, Accelerator::Kvm, false) => ",vmx=off,svm=off",
        (Arch::X86_64, Accelerator::Kvm, true) | (Arch::Aarch64, ..) => "",
    };
    let slow = match (spec.accel, spec.arch, spec.fidelity) {
        // These make a processor of silicon faster or safer, but an emulated one slower:
        // - fast string instructions (erms, fsrm, and fsrs in CPUID's leaf 7.1, which older QEMUs
        //   know no name for): with them, kernel and libc clear and copy memory byte by byte, each
        //   byte emulated, instead of in words and vectors;
        // - smap: each access to a user's memory is between two instructions that end a block of
        //   translated code;
        // - la57: each walk through the page tables has a level more.
        (Accelerator::Tcg, Arch::X86_64, Fidelity::Fast) => {
            ",erms=off,fsrm=off,level-func7=0,smap=off,la57=off"
        }
        _ => "",
    };
    format!("{model}{virtualisation}{slow}")
}

/// Returns QEMU's user network. The guest reaches everything that the container reaches. Into the
/// guest lead the published ports and, if somebody logs in, sshd's port, the latter from the
/// container's loopback only.
///
/// With `--network host` that loopback is every user's: QEMU 10.0 refuses to forward from a Unix
/// socket.
fn user_network(spec: &VmSpec, own: Option<Ports>) -> String {
    use std::fmt::Write;

    let mut network = format!("user,id=net,net={}", spec.network);
    if let Some(domain) = &spec.domain {
        let _ = write!(network, ",dnssearch={}", comma(domain));
    }
    if let Some(Ports { ssh, sshd, knock }) = own {
        for (port, guest) in [(ssh, sshd), (knock, GUEST_CLOSED_PORT)] {
            // Writing into a String cannot fail.
            let _ = write!(network, ",hostfwd=tcp:127.0.0.1:{port}-:{guest}");
        }
    }
    for port in &spec.ports {
        let _ = write!(
            network,
            ",hostfwd={}::{}-:{}",
            port.protocol, port.container, port.guest
        );
    }
    network
}

fn at(slot: u8) -> String {
    format!("bus=pcie.0,addr={slot:#x}")
}

/// Returns the address of the device with this `index` among those that begin at slot `first`. They
/// are packed eight to a slot, so that more fit than there are slots.
fn function_of(first: u8, index: usize) -> String {
    let functions = usize::from(slot::FUNCTIONS);
    let slot = usize::from(first) + index / functions;
    let function = index % functions;
    let multifunction = if function == 0 {
        ",multifunction=on"
    } else {
        ""
    };
    format!("bus=pcie.0,addr={slot:#x}.{function:#x}{multifunction}")
}

/// Doubles commas: in QEMU's option syntax a comma ends a value unless it is doubled.
pub(crate) fn comma(value: &str) -> String {
    value.replace(',', ",,")
}

struct Args(Vec<OsString>);

impl Args {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.into());
    }

    fn opt(&mut self, flag: &str, value: &str) {
        self.flag(flag);
        self.0.push(value.into());
    }

    fn raw(&mut self, flag: &str, value: &Path) {
        self.flag(flag);
        self.0.push(value.into());
    }

    fn device(&mut self, value: &str) {
        self.opt("-device", value);
    }

    fn path_opt(&mut self, flag: &str, prefix: &str, path: &Path) {
        self.opt(flag, &format!("{prefix}{}", comma(&path.to_string_lossy())));
    }
}
