//! The signals and the time that end a command which runs until it is stopped.

use std::future::pending;
use std::io;
use std::time::Duration;

use tcpclose_sys::host::signals;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

/// Waits for Ctrl-C, SIGTERM, the end of the terminal (SIGHUP, unless nohup(1) ignores it), or a
/// time.
pub(super) struct Shutdown {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
    at: Option<Instant>,
}

impl Shutdown {
    /// Installs the handlers. From then on the signals no longer end the program by themselves.
    ///
    /// # Errors
    /// Returns an error if a handler cannot be installed.
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

    /// Also stops after `duration` from now, if it is given.
    pub fn after(self, duration: Option<Duration>) -> Self {
        // A time beyond the clock's range never comes.
        let at = duration.and_then(|duration| Instant::now().checked_add(duration));
        Self { at, ..self }
    }

    /// Waits for a signal or the time. Safe to cancel.
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

/// Makes Ctrl-C and SIGTERM end the program at once from now on, because the reader of a pipe may
/// block it for ever.
pub(super) fn restore_default_signals() {
    for signal in [SignalKind::interrupt(), SignalKind::terminate()] {
        signals::restore_default(signal.as_raw_value());
    }
}
