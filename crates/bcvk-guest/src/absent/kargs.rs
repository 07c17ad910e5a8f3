//! Kernel arguments of an image for devices that a VM does not have.

use bcvk_contract::spec::Karg;

use super::devices::{Machine, Presence};

/// Arguments for which the initramfs looks for a device (kernel-command-line(7), dracut.cmdline(7);
/// `boot=` is dracut's module fips). A root that is not on any disk needs none of them.
const OF_DISKS: [&str; 10] = [
    "resume",
    "resume_offset",
    "rd.lvm.vg",
    "rd.lvm.lv",
    "rd.md.uuid",
    "rd.dm.uuid",
    "rd_LUKS_UUID",
    "rd_LVM_VG",
    "rd_LVM_LV",
    "rd_MD_UUID",
];

/// Arguments `luks.uuid=` and so on, with and without `rd.` (systemd-cryptsetup-generator(8)).
const OF_LUKS: [&str; 6] = ["uuid", "name", "data", "options", "key", "serial"];

/// Returns the arguments that name a device which is absent.
pub(super) fn absent(from_image: &[Karg], machine: &Machine) -> Vec<Karg> {
    let absent = from_image.iter().filter(|karg| is_absent(karg, machine));
    absent.cloned().collect()
}

fn is_absent(karg: &Karg, machine: &Machine) -> bool {
    let name = karg.name();
    let Some((_, value)) = karg.as_str().split_once('=') else {
        return false;
    };
    let luks = name.strip_prefix("rd.").unwrap_or(name);
    let luks = luks.strip_prefix("luks.");
    if OF_DISKS.contains(&name) || luks.is_some_and(|part| OF_LUKS.contains(&part)) {
        return true;
    }
    let value = value.trim_matches('"');
    // `systemd.mount-extra=WHAT:WHERE:TYPE`, `cryptdevice=UUID=X:NAME`.
    let mut parts = value.split(':');
    let what = parts.next().unwrap_or_default();
    let kind = parts.nth(1).unwrap_or_default();
    machine.has_source(what, kind) == Presence::Absent
}

/// Returns false for an argument that only adds to another.
pub(super) fn is_worth_naming(karg: &Karg) -> bool {
    !["resume_offset", "rd.luks.options", "luks.options"].contains(&karg.name())
}
