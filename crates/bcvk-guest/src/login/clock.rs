//! The guest's clock while it is saved.
//!
//! QEMU's emulation never turns the counter of the processor (TSC) back, so that a guest which is taken
//! back finds it ahead by all the time since it was saved. Nothing else is ahead. The kernel's clock
//! would jump by as much, and systemd's watchdogs with it, if the counter were its source; its detector
//! of lockups would find one. So the guest is saved with another source, and without that detector.

use std::fs;
use std::path::{Path, PathBuf};

/// The kernel's clock source, those that there are (Linux, Documentation/admin-guide/clocksource), and
/// the switch of the detector (Linux, Documentation/admin-guide/sysctl/kernel).
const SOURCE: &str = "sys/devices/system/clocksource/clocksource0/current_clocksource";
const SOURCES: &str = "sys/devices/system/clocksource/clocksource0/available_clocksource";
const DETECTOR: &str = "proc/sys/kernel/soft_watchdog";

/// The source that may jump, and the one that is as QEMU has saved it.
const COUNTER: &str = "tsc";
const STEADY: &str = "acpi_pm";

/// Changes that last while a guest is saved.
#[derive(Debug, Default)]
pub(super) struct SteadyClock {
    root: PathBuf,
    changed: Vec<(&'static str, &'static str)>,
}

impl SteadyClock {
    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            changed: Vec::new(),
        }
    }

    /// Makes the clock one that does not jump, as far as the kernel lets it.
    pub(super) fn begin(&mut self) {
        let available = self.read(SOURCES);
        if available.split_whitespace().any(|source| source == STEADY) {
            self.change(SOURCE, COUNTER, STEADY);
        }
        self.change(DETECTOR, "1", "0");
    }

    /// Makes it what it was.
    pub(super) fn end(&mut self) {
        for (path, before) in self.changed.drain(..) {
            let _ = fs::write(self.root.join(path), before);
        }
    }

    fn change(&mut self, path: &'static str, from: &'static str, to: &str) {
        if self.read(path).trim() == from && fs::write(self.root.join(path), to).is_ok() {
            self.changed.push((path, from));
        }
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(source: &str, sources: &str, detector: &str) -> [String; 2] {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in [(SOURCE, source), (SOURCES, sources), (DETECTOR, detector)] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, text).expect("written");
        }
        let read = || {
            [SOURCE, DETECTOR].map(|path| {
                let text = fs::read_to_string(root.path().join(path)).expect("read");
                text.trim().to_owned()
            })
        };
        let mut clock = SteadyClock::at(root.path());
        clock.begin();
        // The host may say it twice.
        clock.begin();
        let during = read();
        clock.end();
        assert_eq!(read(), [source.trim(), detector.trim()], "as before");
        during
    }

    #[test]
    fn only_the_counter_is_replaced_and_all_is_as_before_in_the_end() {
        let both = "tsc acpi_pm \n";
        assert_eq!(changed("tsc\n", both, "1\n"), ["acpi_pm", "0"]);
        assert_eq!(changed("tsc\n", "tsc\n", "0\n"), ["tsc", "0"]);
        let sources = "kvm-clock tsc acpi_pm\n";
        assert_eq!(changed("kvm-clock\n", sources, "1\n"), ["kvm-clock", "0"]);
        // There is no such file on other machines.
        let mut clock = SteadyClock::at(Path::new("/nowhere"));
        clock.begin();
        assert!(clock.changed.is_empty());
        clock.end();
    }
}
