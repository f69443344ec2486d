//! What systemd is told (sd_notify(3)): nothing where it does not listen.

use std::future;
use std::time::Duration;

use libsystemd::daemon::{self, NotifyState};
use tokio::time::{Instant, sleep_until};

use crate::notice::notice;
use crate::session::now;

/// Twice in each time that systemd gives.
pub(super) struct Watchdog {
    period: Option<Duration>,
    next: Instant,
}

/// Whether systemd wants to hear from the event loop, and how often.
pub(super) fn watchdog() -> Watchdog {
    Watchdog {
        period: daemon::watchdog_enabled(false).map(|period| period / 2),
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

/// A reload begins; [`ready`] ends it. systemd tells it from others by the time.
pub(super) fn reloading() {
    let at = format!("MONOTONIC_USEC={}", now().0 / 1_000);
    notify(&[NotifyState::Reloading, NotifyState::Other(at)]);
}

fn notify(states: &[NotifyState]) {
    if let Err(error) = daemon::notify(false, states) {
        notice!("systemd could not be told: {error}");
    }
}
