//! The events that the agent's loop handles besides those of its session.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{self, MissedTickBehavior};

use super::http_server::Scrape;
use super::reload::ReloadEvent;
use super::sd_notify::{self, Watchdog};
use super::socket_server::{AgentQuestion, next_question};
use super::state_file::SAVE_INTERVAL;

/// An event for the agent's loop.
pub(super) enum Wakeup {
    /// An interval is over.
    IntervalEnd,
    /// What a restart must not forget is to be saved.
    SaveState,
    /// systemd expects a sign of life.
    Watchdog,
    /// An HTTP client needs a snapshot.
    Scrape(Scrape),
    /// A command asks.
    Question(AgentQuestion),
    /// SIGHUP: the configuration is to be read again.
    Hangup,
    /// A reload in progress can go on.
    Reload(ReloadEvent),
    /// SIGTERM or SIGINT: the agent must end.
    Stop,
}

/// The sources of [`Wakeup`]s.
pub(super) struct Wakeups {
    ticks: time::Interval,
    saves: time::Interval,
    watchdog: Watchdog,
    scrapes: mpsc::Receiver<Scrape>,
    questions: mpsc::Receiver<AgentQuestion>,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Wakeups {
    /// Starts the first interval. From now on the signals no longer end the program by themselves.
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub fn start(
        interval: Duration,
        scrapes: mpsc::Receiver<Scrape>,
        questions: mpsc::Receiver<AgentQuestion>,
    ) -> io::Result<Self> {
        Ok(Self {
            ticks: ticks(interval),
            saves: ticks(SAVE_INTERVAL),
            watchdog: sd_notify::watchdog(),
            scrapes,
            questions,
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Starts a new interval of this length.
    pub fn change_interval(&mut self, interval: Duration) {
        self.ticks = ticks(interval);
    }

    /// Waits for the next event. Safe to cancel.
    pub async fn next(&mut self) -> Wakeup {
        tokio::select! {
            _ = self.ticks.tick() => Wakeup::IntervalEnd,
            _ = self.saves.tick() => Wakeup::SaveState,
            () = self.watchdog.due() => Wakeup::Watchdog,
            Some(scrape) = self.scrapes.recv() => Wakeup::Scrape(scrape),
            question = next_question(&mut self.questions) => Wakeup::Question(question),
            _ = self.hangup.recv() => Wakeup::Hangup,
            _ = self.terminate.recv() => Wakeup::Stop,
            _ = self.interrupt.recv() => Wakeup::Stop,
        }
    }
}

fn ticks(interval: Duration) -> time::Interval {
    let mut ticks = time::interval_at(time::Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
