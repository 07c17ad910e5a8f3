//! Reasons of the image's sshd for refusing somebody.

use bcvk_contract::spec::Login;
use bcvk_contract::status::refusal;

use super::Supervisor;
use crate::life::LifeEvent;

impl Supervisor {
    /// Lets the user know of a reason of the image's sshd, where that is the way in.
    pub(super) fn refused(&self, why: &str) -> Option<LifeEvent> {
        /// Most characters that are shown.
        const SHOWN: usize = 300;
        if self.spec.login() != Some(Login::Image) {
            return None;
        }
        let why: String = why.chars().take(SHOWN).collect();
        Some(LifeEvent::Warning(refusal(&why)))
    }
}
