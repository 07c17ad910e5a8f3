//! The test images that `make images` builds.

use std::process::Command;
use std::sync::Mutex;

/// Debian trixie: systemd 257, laid out as bootc images are.
#[must_use]
pub fn trixie() -> &'static str {
    required("localhost/bcvk-test:trixie")
}

/// Debian bookworm: systemd 252, with Debian's own `/var` and `/root`.
#[must_use]
pub fn bookworm() -> &'static str {
    required("localhost/bcvk-test:bookworm")
}

/// trixie with more packages, among them podman.
#[must_use]
pub fn full() -> &'static str {
    required("localhost/bcvk-test:full")
}

/// Debian trixie with podman, QEMU and a user, to run bcvk in.
#[must_use]
pub fn host_trixie() -> &'static str {
    required("localhost/bcvk-test:host-trixie")
}

/// The same of Debian testing, with the newest podman and QEMU that Debian has.
#[must_use]
pub fn host_testing() -> &'static str {
    required("localhost/bcvk-test:host-testing")
}

/// trixie without a kernel.
#[must_use]
pub fn nokernel() -> &'static str {
    required("localhost/bcvk-test:nokernel")
}

/// trixie without systemd.
#[must_use]
pub fn nosystemd() -> &'static str {
    required("localhost/bcvk-test:nosystemd")
}

/// trixie with hardly more than systemd: no SSH server, message bus, logind or means to configure a network.
#[must_use]
pub fn minimal() -> &'static str {
    required("localhost/bcvk-test:minimal")
}

/// An image of one text file: no operating system.
#[must_use]
pub fn scratch() -> &'static str {
    required("localhost/bcvk-test:scratch")
}

/// Returns an image that exists. Tests never build one: that takes minutes, and would run once for
/// every test.
fn required(name: &'static str) -> &'static str {
    static SEEN: Mutex<Vec<&str>> = Mutex::new(Vec::new());

    let mut seen = SEEN.lock().expect("the list of images");
    if !seen.contains(&name) {
        let found = Command::new("podman")
            .args(["image", "exists", name])
            .status()
            .expect("podman must be installed (`make setup`)");
        assert!(
            found.success(),
            "the test image {name} is missing: run `make images`, or images/build.sh for a host's"
        );
        seen.push(name);
    }
    name
}
