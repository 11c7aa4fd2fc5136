//! SIGINT, SIGTERM and SIGUSR1 end the current step; the run checkpoints and exits with 75. A
//! second signal of the same kind ends the process at once.

use isotropy_core::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Tells whether a signal has asked the run to stop.
#[derive(Debug, Clone)]
pub struct StopFlag(Arc<AtomicUsize>);

impl StopFlag {
    /// Listens for the signals.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn listen() -> Result<Self> {
        let received = Arc::new(AtomicUsize::new(0));
        let register = |signal: i32| -> std::io::Result<()> {
            let second = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register_conditional_shutdown(signal, 75, second.clone())?;
            signal_hook::flag::register(signal, second)?;
            signal_hook::flag::register_usize(signal, received.clone(), signal as usize)?;
            Ok(())
        };
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            register(signal).map_err(|e| Error::Other(format!("signal handlers: {e}")))?;
        }
        Ok(Self(received))
    }

    /// The name of the signal that was received, if any.
    pub fn received(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Relaxed) as i32 {
            0 => None,
            SIGINT => Some("SIGINT"),
            SIGTERM => Some("SIGTERM"),
            _ => Some("SIGUSR1"),
        }
    }

    /// The error that ends a run whose state has been saved.
    ///
    /// # Errors
    /// `Interrupted` when a signal was received.
    pub fn check(&self) -> Result<()> {
        match self.received() {
            None => Ok(()),
            Some(signal) => Err(Error::Interrupted(format!("stopped by {signal}"))),
        }
    }
}
