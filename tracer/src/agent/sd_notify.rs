//! Notifications to systemd (sd_notify(3)), if it listens.

use std::future;
use std::time::Duration;

use libsystemd::daemon::{self, NotifyState};
use tokio::time::{Instant, sleep_until};

use crate::notice::notice;
use crate::session::now;

/// A timer for signs of life, which are due twice in each period of systemd's watchdog.
pub(super) struct Watchdog {
    period: Option<Duration>,
    next: Instant,
}

/// Returns a timer with the period that systemd asks for, if it does.
pub(super) fn watchdog() -> Watchdog {
    Watchdog {
        period: daemon::watchdog_enabled(false).map(|period| period / 2),
        next: Instant::now(),
    }
}

impl Watchdog {
    /// Waits until a sign of life is due; forever if none is wanted. Safe to cancel.
    pub async fn due(&mut self) {
        let Some(period) = self.period else {
            return future::pending().await;
        };
        sleep_until(self.next).await;
        self.next = Instant::now() + period;
    }
}

pub(super) fn ping_watchdog() {
    notify(&[NotifyState::Watchdog]);
}

pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Announces a reload; [`ready`] announces its end. The time identifies the reload.
pub(super) fn reloading() {
    let at = format!("MONOTONIC_USEC={}", now().0 / 1_000);
    notify(&[NotifyState::Reloading, NotifyState::Other(at)]);
}

fn notify(states: &[NotifyState]) {
    if let Err(error) = daemon::notify(false, states) {
        notice!("systemd could not be notified: {error}");
    }
}
