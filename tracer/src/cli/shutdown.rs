//! What ends a command that runs until it is told to stop.

use std::future::pending;
use std::io;
use std::time::Duration;

use tcpclose_sys::host::signals;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

/// Ctrl-C, SIGTERM, the end of the terminal (SIGHUP, unless nohup(1) has it ignored), and a time.
pub(super) struct Shutdown {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
    at: Option<Instant>,
}

impl Shutdown {
    /// From now on those signals no longer end the program by themselves.
    ///
    /// # Errors
    /// When the kernel takes no handler.
    pub fn listen() -> io::Result<Self> {
        let hangup = match signals::is_ignored(SignalKind::hangup().as_raw_value()) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
            at: None,
        })
    }

    /// Also so long after now, if that is given.
    pub fn after(self, duration: Option<Duration>) -> Self {
        // A time beyond the clock's range is never.
        let at = duration.and_then(|duration| Instant::now().checked_add(duration));
        Self { at, ..self }
    }

    /// Waits for one of them. Safe to cancel.
    pub async fn requested(&mut self) {
        let Self {
            interrupt,
            terminate,
            hangup,
            at,
        } = self;
        let hung_up = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        let over = async {
            match at {
                Some(at) => sleep_until(*at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hung_up => {}
            () = over => {}
        }
    }
}

/// From here on Ctrl-C and SIGTERM end the program on the spot: whoever reads a pipe may take for ever.
pub(super) fn restore_default_signals() {
    for signal in [SignalKind::interrupt(), SignalKind::terminate()] {
        signals::restore_default(signal.as_raw_value());
    }
}
