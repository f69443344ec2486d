//! Shows the findings of a session, live or replayed.

use std::future::pending;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::printer::LinePrinter;
use crate::cli::shutdown::{self, Shutdown};
use crate::output::writer::WriterEnd;
use crate::record::RawTransition;
use crate::session::{Consumer, Session, Source};
use tcpclose_core::finding::Finding;

/// The shortest time until there may be something to show.
const MIN_WAKE_DELAY: Duration = Duration::from_millis(5);

/// Shows findings until the user, the output or a limit ends that.
pub(super) struct WatchConsumer {
    printer: LinePrinter,
    signals: Option<Shutdown>,
    /// When there may be something to show although nothing has happened, in a live session.
    wake_at: Option<Instant>,
    /// Set when nothing more is to be shown.
    stop: Arc<AtomicBool>,
    /// The error that ended the output.
    end: Option<WriterEnd>,
    is_recorded: bool,
}

impl WatchConsumer {
    /// Shows a live session until it is stopped. `is_recorded`: whether the session is recorded at
    /// the same time.
    pub fn live(printer: LinePrinter, signals: Shutdown, is_recorded: bool) -> Self {
        Self {
            printer,
            signals: Some(signals),
            wake_at: None,
            stop: Arc::default(),
            end: None,
            is_recorded,
        }
    }

    /// Shows a recording until `stop` is set.
    pub fn replay(printer: LinePrinter, stop: Arc<AtomicBool>) -> Self {
        Self {
            printer,
            signals: None,
            wake_at: None,
            stop,
            end: None,
            is_recorded: false,
        }
    }
}

impl<S: Source> Consumer<S> for WatchConsumer {
    type Output = ExitCode;

    async fn wait(&mut self) {
        let (signals, wake_at) = (&mut self.signals, self.wake_at);
        let stop_requested = async {
            match signals {
                Some(signals) => signals.requested().await,
                None => pending().await,
            }
        };
        let due = async {
            match wake_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            end = self.printer.writer.closed() => self.end = Some(end),
            () = stop_requested => self.stop.store(true, Ordering::Relaxed),
            () = due => {}
        }
    }

    fn wants_transitions(&self) -> bool {
        self.printer.wants_transitions()
    }

    fn on_transition(&mut self, transition: &RawTransition) {
        self.printer.show_transition(transition);
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        self.printer.show(finding);
        Ok(())
    }

    fn after_findings(&mut self, session: &mut Session<S>) -> anyhow::Result<()> {
        self.printer.after_findings(session);
        if self.signals.is_some() {
            let left = self.printer.next_due().map(|due| due - session.now());
            let left = left.map(|left| Duration::from_nanos(left.0).max(MIN_WAKE_DELAY));
            self.wake_at = left.and_then(|left| Instant::now().checked_add(left));
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.printer.is_done() || self.end.is_some() || self.stop.load(Ordering::Relaxed)
    }

    fn finish(self, session: &mut Session<S>) -> anyhow::Result<ExitCode> {
        let Self {
            printer,
            end,
            is_recorded,
            ..
        } = self;
        let code = match end {
            Some(end) => printer.finish_ended(end),
            None => printer.finish(session),
        };
        if is_recorded {
            shutdown::restore_default_signals();
        }
        code
    }
}
