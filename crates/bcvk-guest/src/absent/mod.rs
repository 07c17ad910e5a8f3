//! Parts of a machine that an image expects and a VM does not have, so that its boot does not wait
//! for them.
//!
//! The image's own files stay as they are. systemd reads copies of `/etc/fstab` and `/etc/crypttab`
//! without the lines of what is absent (systemd, docs/ENVIRONMENT.md: `SYSTEMD_FSTAB`), mount units
//! are skipped, and a job that waits for an absent device fails after a second.

mod devices;
mod kargs;
mod tables;

use std::collections::BTreeSet;

use bcvk_contract::spec::{Fidelity, Karg, VmSpec};

use crate::facts::{GuestFacts, WantedUnit};
use crate::unit_name::device_unit;
use devices::{Machine, Presence};

/// Number of absent things that the notice names.
const NAMED: usize = 16;

/// Parts of the image's boot that a VM leaves out, because it lacks what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Absent {
    /// `/etc/fstab` as systemd is to read it, if that is not the image's.
    pub(crate) fstab: Option<String>,
    /// Likewise, `/etc/crypttab`.
    pub(crate) crypttab: Option<String>,
    /// Mount units that are skipped.
    pub(crate) mounts: Vec<String>,
    /// Device units for which no job waits.
    pub(crate) devices: BTreeSet<String>,
    /// Services that are masked.
    pub(crate) services: Vec<String>,
    /// The image's kernel arguments that name an absent device.
    kargs: Vec<Karg>,
    /// Names of all that is absent and that the boot would have waited for.
    names: Vec<String>,
}

impl Absent {
    /// Compares what an image with `facts` and the kernel arguments `from_image` expects with what the
    /// VM of `spec` has. A VM that boots as a host does leaves out nothing.
    #[must_use]
    pub fn new(spec: &VmSpec, facts: &GuestFacts, from_image: &[Karg]) -> Self {
        let mut absent = Self::default();
        if spec.fidelity == Fidelity::Full {
            return absent;
        }
        let machine = Machine::new(spec);
        let crypttab = tables::crypttab(&facts.crypttab, &machine);
        let fstab = tables::fstab(&facts.fstab, &machine);
        absent.names.extend(fstab.names);
        absent.names.extend(crypttab.names);
        absent.fstab = fstab.text;
        absent.crypttab = crypttab.text;
        for unit in &facts.wanted_units {
            absent.add_unit(unit, &machine);
        }
        absent.add_services(spec, facts);
        let links = facts.awaited_links.iter();
        absent
            .names
            .extend(links.map(|link| format!("a carrier for {link}")));
        absent.kargs = kargs::absent(from_image, &machine);
        let kargs = absent
            .kargs
            .iter()
            .filter(|karg| kargs::is_worth_naming(karg));
        let kargs = kargs.map(|karg| format!("kernel argument {karg}"));
        absent.names.extend(kargs);
        absent
    }

    /// Adds services that ask at a console where nobody answers, or that need a disk.
    fn add_services(&mut self, spec: &VmSpec, facts: &GuestFacts) {
        let asking = "which asks at the console";
        // A kernel argument keeps it from asking.
        let given = spec
            .kargs
            .iter()
            .any(|karg| karg.name() == "systemd.firstboot");
        if facts.asks_for_settings && !given {
            let name = format!("systemd-firstboot, {asking}");
            self.names.push(name);
        }
        for service in &facts.asking {
            self.services.push(service.clone());
            self.names.push(format!("{service}, {asking}"));
        }
        if spec.disks.is_empty() && facts.repart {
            let service = "systemd-repart.service";
            self.services.push(service.to_owned());
            self.names.push(format!("a disk for {service}"));
        }
    }

    fn add_unit(&mut self, unit: &WantedUnit, machine: &Machine) {
        let name = &unit.name;
        let what = unit.what.as_deref();
        let what = what.filter(|what| machine.has_source(what, &unit.kind) == Presence::Absent);
        if let Some(what) = what {
            if unit.is_mount() {
                self.mounts.push(unit.file.clone());
            } else {
                self.devices.insert(unit_of(what));
            }
            self.names.push(format!("{name} ({what})"));
        }
        for device in &unit.devices {
            if machine.has_device(device) == Presence::Absent {
                self.devices.insert(unit_of(device));
                self.names.push(format!("{name} ({device})"));
            }
        }
    }

    /// Returns those of the image's kernel arguments that the VM boots with.
    #[must_use]
    pub fn remaining(&self, from_image: &[Karg]) -> Vec<Karg> {
        let kept = from_image.iter().filter(|karg| !self.kargs.contains(karg));
        kept.cloned().collect()
    }

    /// Tells the user what was left out; `None` if that is nothing.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        let (first, rest) = self.names.split_at(self.names.len().min(NAMED));
        if first.is_empty() {
            return None;
        }
        let more = match rest.len() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let names = first.join(", ");
        Some(format!(
            "the image's boot does not wait for what this VM does not have: {names}{more}"
        ))
    }
}

/// Returns the device unit of a source, as fstab(5) and systemd.mount(5) name it.
fn unit_of(source: &str) -> String {
    device_unit(devices::path(source).as_ref())
}

/// Returns `/etc/fstab` and `/etc/crypttab` of this text on a machine without disks, each with the
/// number of names.
#[cfg(any(test, fuzzing))]
pub(crate) fn tables_of_a_vm(text: &str) -> [(String, usize); 2] {
    let machine = Machine::default();
    [
        tables::fstab(text, &machine),
        tables::crypttab(text, &machine),
    ]
    .map(|table| {
        let left = table.text.unwrap_or_else(|| text.to_owned());
        (left, table.names.len())
    })
}

#[cfg(test)]
mod tests;
