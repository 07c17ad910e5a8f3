//! Block devices and other sources of file systems that a VM has, by the names that images use.

use bcvk_contract::spec::{SWAP_NAME, VAR_NAME, VmSpec};

/// Presence of a device in a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is there, or the boot does not depend on it.
    Present,
    /// It may be on one of the user's disks, whose content is not read.
    Possible,
    /// It is not there.
    Absent,
}

/// The part of a VM that file systems come from.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// Serial numbers of the disks, in the order of their letters.
    serials: Vec<String>,
    /// Number of the user's disks, which come first.
    user_disks: usize,
    /// Tags of the shares.
    tags: Vec<String>,
}

/// Tags of fstab(5), and the directories of the links that udev makes for them.
const TAGS: [(&str, &str); 6] = [
    ("UUID=", "/dev/disk/by-uuid/"),
    ("LABEL=", "/dev/disk/by-label/"),
    ("PARTUUID=", "/dev/disk/by-partuuid/"),
    ("PARTLABEL=", "/dev/disk/by-partlabel/"),
    ("ID=", "/dev/disk/by-id/"),
    ("DISKSEQ=", "/dev/disk/by-diskseq/"),
];

/// Beginnings of the names of disks that only drivers of other hardware have (Linux,
/// Documentation/admin-guide/devices.txt).
const FOREIGN: [&str; 8] = ["sd", "hd", "xvd", "nvme", "mmcblk", "sr", "dasd", "pmem"];

/// Devices that consist of others.
const STACKED: [&str; 4] = ["md", "dm-", "bcache", "drbd"];

/// Directories of `/dev` that volume groups are not among.
const SUBDIRECTORIES: [&str; 19] = [
    "block",
    "bsg",
    "bus",
    "char",
    "cpu",
    "disk",
    "dma_heap",
    "dri",
    "fd",
    "hugepages",
    "input",
    "mapper",
    "mqueue",
    "net",
    "pts",
    "shm",
    "snd",
    "vfio",
    "virtio-ports",
];

impl Machine {
    pub(crate) fn new(spec: &VmSpec) -> Self {
        let mut serials: Vec<String> = spec.disks.iter().map(|disk| disk.name.clone()).collect();
        serials.extend(spec.swap.map(|_| SWAP_NAME.to_owned()));
        serials.extend(spec.var.disk().map(|_| VAR_NAME.to_owned()));
        Self {
            serials,
            user_disks: spec.disks.len(),
            tags: spec.shares.iter().map(|share| share.tag.clone()).collect(),
        }
    }

    /// Presence of the source `what` of a file system or swap area of the type `kind`.
    pub(crate) fn has_source(&self, what: &str, kind: &str) -> Presence {
        match kind {
            "virtiofs" if self.tags.iter().any(|tag| tag == what) => Presence::Present,
            "virtiofs" | "9p" => Presence::Absent,
            // No file system of a VM can have a swap file.
            "swap" if what.starts_with('/') && !what.starts_with("/dev/") => self.on_a_disk(),
            _ => self.has_device(what),
        }
    }

    /// Presence of a device, by its path or a tag of fstab(5).
    pub(crate) fn has_device(&self, source: &str) -> Presence {
        let path = path(source);
        let Some(name) = path.strip_prefix("/dev/") else {
            return Presence::Present;
        };
        if let Some(link) = name.strip_prefix("disk/") {
            return self.has_link(link);
        }
        if let Some(rest) = name.strip_prefix("vd") {
            return self.has_letter(rest);
        }
        let begins = |names: &[&str]| {
            let mut rests = names.iter().filter_map(|start| name.strip_prefix(start));
            rests.any(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        };
        // `sda`, not `sd-card`; `sr0`, not `srandom`.
        if begins(&FOREIGN) && !name.contains('/') && !name.contains('-') {
            return Presence::Absent;
        }
        let is_volume = match name.split_once('/') {
            Some(("mapper", name)) => name != "control",
            Some(("md", _)) => true,
            Some((group, _)) => !SUBDIRECTORIES.contains(&group),
            None => begins(&STACKED),
        };
        if is_volume {
            self.on_a_disk()
        } else {
            Presence::Present
        }
    }

    /// Presence of a link below `/dev/disk`.
    fn has_link(&self, link: &str) -> Presence {
        let Some(id) = link.strip_prefix("by-id/virtio-") else {
            return self.on_a_disk();
        };
        if self.serials.iter().any(|serial| serial == id) {
            return Presence::Present;
        }
        match id.rsplit_once("-part") {
            Some((serial, _)) if self.serials.iter().any(|known| known == serial) => {
                Presence::Possible
            }
            _ => Presence::Absent,
        }
    }

    /// Presence of `/dev/vd` and `rest`: letters of the disk, number of the partition.
    fn has_letter(&self, rest: &str) -> Presence {
        let letters = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        let index = match letters.as_bytes() {
            [letter @ b'a'..=b'z'] => usize::from(letter - b'a'),
            _ => usize::MAX,
        };
        match index < self.serials.len() {
            true if letters == rest => Presence::Present,
            true => Presence::Possible,
            false => Presence::Absent,
        }
    }

    /// Presence of what can only be on one of the user's disks.
    const fn on_a_disk(&self) -> Presence {
        if self.user_disks == 0 {
            Presence::Absent
        } else {
            Presence::Possible
        }
    }
}

/// Returns the path of a device that is named by a path or a tag of fstab(5), whose value may be in
/// quotes.
pub(super) fn path(source: &str) -> String {
    let tagged = TAGS
        .iter()
        .find_map(|(tag, dir)| Some((dir, source.strip_prefix(tag)?)));
    match tagged {
        Some((dir, value)) => format!("{dir}{}", value.trim_matches(['"', '\''])),
        None => source.to_owned(),
    }
}
