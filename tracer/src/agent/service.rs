//! What systemd is told (sd_notify(3)): nothing where it does not listen.

use std::future;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep_until};

/// Twice in each time that systemd gives.
pub(super) struct Watchdog {
    period: Option<Duration>,
    next: Instant,
}

/// Whether systemd wants to hear from the event loop, and how often.
pub(super) fn watchdog() -> Watchdog {
    Watchdog {
        period: sd_notify::watchdog_enabled().map(|period| period / 2),
        next: Instant::now(),
    }
}

impl Watchdog {
    /// Waits until a sign of life is due; for ever where none is wanted. Safe to cancel.
    pub async fn due(&mut self) {
        let Some(period) = self.period else {
            return future::pending().await;
        };
        sleep_until(self.next).await;
        self.next = Instant::now() + period;
    }
}

pub(super) fn alive() {
    notify(&[NotifyState::Watchdog]);
}

pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// A reload begins; [`ready`] ends it.
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        eprintln!("tcpclose: systemd could not be told: {error}");
    }
}
