//! Mistakes in values that the user gave.

use std::path::PathBuf;

use thiserror::Error;

use super::choice::known;
use super::memory::MemorySize;
use super::{DiskFormat, Protocol};

/// A value that cannot be part of a VM's description.
///
/// Each sentence names the value as it was given and says what would be right. It does not
/// name the option: the caller knows that and puts it in front.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    /// Not a number with a unit that sizes have.
    #[error(
        "'{value}' is not a memory size: give a number with a unit, such as 4G or 2048M (a plain number is MiB)"
    )]
    MemorySyntax {
        /// As given.
        value: String,
    },
    /// A size that is not a whole number of mebibytes.
    #[error(
        "'{value}' is not a whole number of MiB: guest memory is given in steps of 1 MiB, such as 1536M"
    )]
    MemoryNotWholeMib {
        /// As given.
        value: String,
    },
    /// Less than a guest can boot with.
    #[error(
        "'{value}' is too little memory for a guest: give at least {}",
        MemorySize::MIN
    )]
    MemoryTooSmall {
        /// As given.
        value: String,
    },
    /// More than can be counted in MiB with 32 bits.
    #[error(
        "'{value}' is more memory than any machine has: give at most {}",
        MemorySize::MAX
    )]
    MemoryTooLarge {
        /// As given.
        value: String,
    },
    /// Not a word of a [`Choice`](super::Choice).
    #[error("'{value}' is not {noun}: known are {known}")]
    Choice {
        /// As given.
        value: String,
        /// Noun for the value, with its article.
        noun: &'static str,
        /// All words, as a list.
        known: String,
    },
    /// Not one of the instance types that exist.
    #[error("'{value}' is not an instance type: did you mean {nearest}? Known are {known}")]
    UnknownInstanceType {
        /// As given.
        value: String,
        /// The known name closest to it.
        nearest: &'static str,
        /// All known names, smallest first, separated by commas.
        known: String,
    },
    /// A name that podman would refuse for a container.
    #[error(
        "'{value}' cannot name a VM: names start with a letter or digit, followed by letters, digits, '_', '.' and '-' only"
    )]
    VmName {
        /// As given.
        value: String,
    },
    /// An architecture that no guest can have.
    #[error(
        "'{value}' is not a guest architecture: known are x86_64 (podman's amd64) and aarch64 (arm64)"
    )]
    UnknownArch {
        /// As given.
        value: String,
    },
    /// A share without a host path.
    #[error("'{value}' names no host directory: give HOST, HOST:NAME or HOST:/absolute/guest/path")]
    ShareHostEmpty {
        /// As given.
        value: String,
    },
    /// A share that ends in a colon.
    #[error(
        "'{value}' has nothing after the ':': give a name or an absolute guest path there, or leave the ':' out"
    )]
    ShareTargetEmpty {
        /// As given.
        value: String,
    },
    /// A share whose host path has no last component to be named after.
    #[error(
        "'{value}' has no last path component to name the share after: add a name, as in {value}:NAME"
    )]
    ShareUnnamed {
        /// As given.
        value: String,
    },
    /// A guest path that is the root, climbs with `..`, or cannot stand in a mount unit.
    #[error(
        "'{target}' cannot be a share's place in the guest: give an absolute path other than /, without '..' and control characters, and with neither a blank nor a backslash at its end"
    )]
    ShareGuestPath {
        /// The guest path, as given.
        target: String,
    },
    /// A share in `podman --volume` form, with options after the guest path.
    #[error(
        "'{value}' ends in the volume options '{options}', which a share does not have: leave ':{options}' out"
    )]
    ShareOptions {
        /// As given.
        value: String,
        /// Text after the last colon.
        options: String,
    },
    /// Two shares at one place, or under one tag.
    #[error("'{}' and '{}' would both be seen at {} in the guest: give one of them another name, as in HOST:NAME", first.display(), second.display(), guest_path.display())]
    ShareClash {
        /// The host directory given first.
        first: PathBuf,
        /// The host directory given later.
        second: PathBuf,
        /// The later one's place in the guest.
        guest_path: PathBuf,
    },
    /// A disk without a file.
    #[error("'{value}' names no file: give FILE, FILE:NAME or FILE:NAME:FORMAT")]
    DiskFileEmpty {
        /// As given.
        value: String,
    },
    /// A name that is no serial number.
    #[error("'{name}' is too long to name a disk: give at most {most} characters")]
    DiskName {
        /// The part that should be a name.
        name: String,
        /// Longest name, in bytes.
        most: usize,
    },
    /// A name that would hide a device of bcvk's.
    #[error("the disk name '{name}' is that of a disk of bcvk's own: give it another one")]
    DiskNameTaken {
        /// The name.
        name: String,
    },
    /// Not a format that a disk can have.
    #[error("'{format}' in '{value}' is not a disk format: known are {}", known::<DiskFormat>())]
    DiskFormat {
        /// As given.
        value: String,
        /// The part that should be a format.
        format: String,
    },
    /// Two disks of one name.
    #[error("the disks '{}' and '{}' would both be named {name}: give each a name, as in FILE:NAME", first.display(), second.display())]
    DiskClash {
        /// The file given first.
        first: PathBuf,
        /// The file given later.
        second: PathBuf,
        /// Name that both would have.
        name: String,
    },
    /// More disks than a VM has places for.
    #[error("{given} disks are too many: give at most {most}, or share directories")]
    TooManyDisks {
        /// Number of disks that were given.
        given: usize,
        /// Greatest number of disks.
        most: usize,
    },
    /// Not a size for a swap device.
    #[error(
        "'{value}' is not a size for a swap device: give whole MiB with a unit, such as 512M or 2G"
    )]
    SwapSize {
        /// As given.
        value: String,
    },
    /// Not a size for a `/var`.
    #[error(
        "'{value}' is not a size for /var: give whole MiB with a unit, from 64M to 15T, such as 512M or 20G"
    )]
    VarSize {
        /// As given.
        value: String,
    },
    /// A `/var` in memory that the guest does not have.
    #[error(
        "a /var of {size} MiB does not fit into the guest's memory: it has room for {most} MiB"
    )]
    VarTooLarge {
        /// Size that was asked for, in mebibytes.
        size: u32,
        /// Greatest size, in mebibytes.
        most: u64,
    },
    /// A share that hides a `/var` of the VM's own.
    #[error(
        "'{}' would be mounted over /var, for which the VM is to have a file system: leave one of the two out", host.display()
    )]
    VarCovered {
        /// The host directory.
        host: PathBuf,
    },
    /// Not a [`MachineIdRequest`](super::MachineIdRequest).
    #[error(
        "'{0}' is not a machine ID: known are new and 32 hexadecimal digits, not all of them 0"
    )]
    MachineId(String),
    /// Logs without a list of streams or without a directory.
    #[error(
        "'{value}' is not STREAMS=DIR: give streams and a directory, such as journal,console=logs"
    )]
    LogDirSyntax {
        /// As given.
        value: String,
    },
    /// A virtio-serial port of another form than NAME:FILE.
    #[error(
        "'{value}' is not NAME:FILE: give the port's name (letters, digits, '_', '.' and '-') and the file that its output goes to"
    )]
    SerialPortSyntax {
        /// As given.
        value: String,
    },
    /// A port with a name of bcvk's own.
    #[error("the port name '{name}' is bcvk's own: give it one that does not begin with org.bcvk.")]
    SerialPortReserved {
        /// The name.
        name: String,
    },
    /// Two ports of one name.
    #[error("two virtio-serial ports are named '{name}': give each a name of its own")]
    SerialPortClash {
        /// The name.
        name: String,
    },
    /// More ports than a VM has places for.
    #[error("{given} virtio-serial ports are too many: give at most {most}")]
    TooManySerialPorts {
        /// Number of ports that were given.
        given: usize,
        /// Greatest number of ports.
        most: usize,
    },
    /// A published port of another form than podman's.
    #[error(
        "'{value}' is not a port to publish: give [IP:]HOST:GUEST[/tcp|udp], such as 8080:80 or 127.0.0.1:8080:80 (IPv6 addresses in brackets)"
    )]
    PublishSyntax {
        /// As given.
        value: String,
    },
    /// A name that no Pod can have.
    #[error(
        "'{value}' cannot name a Pod: give at most 63 lowercase letters, digits and dashes, with no dash at the ends"
    )]
    PodName {
        /// As given.
        value: String,
    },
    /// A port that a Pod cannot lead into its VM.
    #[error(
        "a Pod cannot publish {value}: give POD:GUEST, where POD is a port of the Pod's own from 1024 to 65535 that no other has"
    )]
    PodPort {
        /// As given.
        value: String,
    },
    /// A port outside 1–65535.
    #[error("'{port}' in '{value}' is not a port: ports are numbers from 1 to 65535")]
    PublishPort {
        /// As given.
        value: String,
        /// The part that should be a port.
        port: String,
    },
    /// An address that is not one.
    #[error("'{ip}' in '{value}' is not an IP address: give an address such as 127.0.0.1 or [::1]")]
    PublishAddress {
        /// As given.
        value: String,
        /// The part that should be an address.
        ip: String,
    },
    /// A protocol that QEMU's user network does not forward.
    #[error("'{protocol}' in '{value}' cannot be published: protocols are {}", known::<Protocol>())]
    PublishProtocol {
        /// As given.
        value: String,
        /// The part after the `/`.
        protocol: String,
    },
    /// A range of ports.
    #[error("'{value}' is a range of ports: publish each port by an option of its own")]
    PublishRange {
        /// As given.
        value: String,
    },
    /// A variable without a name, or with a name that no environment can hold.
    #[error(
        "'{value}' is not an environment variable: give NAME=VALUE, or NAME alone to pass on your own value"
    )]
    EnvSyntax {
        /// As given.
        value: String,
    },
    /// A value that the files which the guest's environment is kept in cannot hold.
    #[error(
        "the value of '{name}' has several lines, and the guest's environment is kept in files with a line for each variable: give it in one line, such as base64, or share a file"
    )]
    EnvLines {
        /// The variable.
        name: String,
    },
    /// A pattern where one name is wanted.
    #[error("'{value}' is a pattern: name each environment variable to pass on by itself")]
    EnvPattern {
        /// As given.
        value: String,
    },
    /// Not a duration.
    #[error(
        "'{value}' is not a duration: give seconds, or numbers with units, such as 300, 90s, 5m, 1h30m or 500ms"
    )]
    TimeoutSyntax {
        /// As given.
        value: String,
    },
    /// No time at all.
    #[error("'{value}' is no time at all: give a duration of at least 1ms")]
    TimeoutZero {
        /// As given.
        value: String,
    },
    /// Longer than a duration can be.
    #[error("'{value}' is too long: give a duration of at most 365 days (8760h)")]
    TimeoutTooLong {
        /// As given.
        value: String,
    },
    /// Nothing where a kernel argument should be.
    #[error("the kernel argument is empty: give NAME or NAME=VALUE")]
    KargEmpty,
    /// A line break or NUL, neither of which a kernel command line can hold.
    #[error(
        "the kernel argument {value:?} contains a line break or NUL character: leave it out, because the kernel command line is one line of text"
    )]
    KargControl {
        /// As given.
        value: String,
    },
    /// Spaces outside quotes: the kernel would see several arguments.
    #[error(
        "'{value}' is more than one kernel argument: give each by itself, or quote a value with spaces as in NAME=\"a b\""
    )]
    KargSeveral {
        /// As given.
        value: String,
    },
    /// A quotation that does not end.
    #[error(
        "the kernel argument '{value}' opens a quotation with '\"' and does not close it: close it, as in NAME=\"a b\""
    )]
    KargQuote {
        /// As given.
        value: String,
    },
    /// A label without a key.
    #[error("'{value}' is not a label: give KEY=VALUE")]
    LabelSyntax {
        /// As given.
        value: String,
    },
    /// A label by which bcvk knows its VMs.
    #[error("the label '{key}' is bcvk's own: give yours another name")]
    LabelTaken {
        /// Key of the label.
        key: String,
    },
    /// A VM described by another version of bcvk.
    #[error(
        "this VM is described in version {found} of the layout, and this bcvk reads version {known}: use the bcvk that started it"
    )]
    Version {
        /// The description's version.
        found: u32,
        /// The version that is understood.
        known: u32,
    },
}
