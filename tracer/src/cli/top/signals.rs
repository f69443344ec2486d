//! The signals that concern a full screen, beside those that end the program.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::message::Message;

/// Waits for signals about the terminal.
pub(super) struct TerminalSignals {
    resized: Signal,
    stop: Signal,
    continued: Signal,
}

impl TerminalSignals {
    /// Installs the handlers: from then on SIGTSTP does not stop the program by itself.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub fn listen() -> io::Result<Self> {
        // Neither tokio nor rustix has these by name for handlers.
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            stop: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            continued: signal(SignalKind::from_raw(libc::SIGCONT))?,
        })
    }

    /// Waits for the next one, and returns the message for the screen. Safe to cancel.
    pub async fn next(&mut self) -> Message {
        tokio::select! {
            _ = self.resized.recv() => Message::Resize,
            _ = self.stop.recv() => Message::Suspend,
            _ = self.continued.recv() => Message::Continued,
        }
    }
}

/// Waits for the next signal, if there is a screen.
pub(super) async fn next(signals: &mut Option<TerminalSignals>) -> Message {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}
