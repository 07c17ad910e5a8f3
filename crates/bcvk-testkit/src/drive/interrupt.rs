//! Ctrl-C ends a chore through its ordinary way out, so that everything it started is undone.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::error::{Error, Result};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Takes the signals over from their default action.
pub fn install() -> Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(asked))
            .map_err(Error::io("receive signals"))?;
    }
    Ok(())
}

/// Returns an error once the user has asked to stop. Every wait calls it several times a second.
pub fn check() -> Result<()> {
    match ASKED.get() {
        Some(asked) if asked.load(Ordering::Relaxed) => Err(Error::Interrupted),
        _ => Ok(()),
    }
}
