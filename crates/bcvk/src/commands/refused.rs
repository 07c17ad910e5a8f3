//! Sessions that the image's own sshd has refused.

use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::spec::{Login, VmSpec};
use bcvk_host::VmDir;

use crate::ui::Ui;

/// Limit for the reason to come after the refusal: it goes through the guest's journal.
const LIMIT: Duration = Duration::from_secs(5);

/// Pause between two looks at the status, which is short for whoever waits at a terminal.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows what the image's sshd says of a session that was lost, if that was the way in.
pub(super) fn explain(dir: &VmDir, ui: &Ui) {
    let is_image = |spec: VmSpec| spec.login() == Some(Login::Image);
    if !dir.read_spec().is_ok_and(is_image) {
        return;
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        let status = dir.shared().status().ok().flatten();
        let reasons = status.map(|status| status.refusals()).unwrap_or_default();
        if !reasons.is_empty() {
            ui.warnings(&reasons);
            return;
        }
        if Instant::now() > deadline {
            return;
        }
        thread::sleep(PAUSE);
    }
}
