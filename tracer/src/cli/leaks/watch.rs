//! `tcpclose leaks --watch INTERVAL`: one scan after the other. A tracing session runs beside them
//! where the kernel allows one: it sees when sockets enter their state and how they leave it, which
//! scans can only estimate.

use std::future::pending;
use std::mem;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::args::LeaksArgs;
use super::printer::ReportPrinter;
use crate::cli::common::{PrintOutcome, scan_exit_code};

use crate::cli::shutdown::Shutdown;
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use crate::output::loss_message;
use crate::record::RawTransition;
use crate::session::{Consumer, Live, Session};
use crate::stuck::{ScannedSockets, Scanner, StateExits};
use tcpclose_core::finding::Finding;
use tcpclose_sys::kernel::loader::TraceOptions;

/// The time after which the records of sockets that a scan found gone have been read: while there
/// is traffic, the ring buffer is read every 20 ms.
const LAST_RECORDS_DELAY: Duration = Duration::from_millis(75);

/// Scans at this interval, beside a tracing session where one can be started.
pub(super) async fn run(
    args: &LeaksArgs,
    scanner: Scanner,
    printer: ReportPrinter,
    clock: ClockOffset,
    every: Duration,
) -> anyhow::Result<ExitCode> {
    let mut watch = Watch {
        shutdown: Shutdown::listen()?,
        pace: interval(every),
        phase: WatchPhase::Pausing(scanner),
        action: None,
        state_exits: StateExits::new(args.min_age.into()),
        printer,
        clock,
        left: args.count,
        code: None,
    };
    // A scan that took longer than the interval is followed by a whole interval.
    watch
        .pace
        .set_missed_tick_behavior(MissedTickBehavior::Delay);
    if let Some(mut session) = start_session(args)? {
        return session.run(watch).await;
    }
    while watch.code.is_none() {
        watch.action = Some(watch.next_action().await);
        watch.advance(None)?;
    }
    Ok(watch.code.unwrap_or(ExitCode::SUCCESS))
}

/// Starts a session that traces the connections that are scanned for. Returns `None`, with a
/// notice, where a session would show nothing.
fn start_session(args: &LeaksArgs) -> anyhow::Result<Option<Session<Live>>> {
    let options = TraceOptions {
        filter: args.filters.kernel.to_config().live()?,
        ..TraceOptions::default()
    };
    let why = match Session::builder(options).start() {
        Ok(session) if session.has_cookies() => return Ok(Some(session)),
        Ok(_) => "this kernel's records have no socket cookies".to_owned(),
        Err(error) => error.to_string(),
    };
    notice!("all ages are estimated: {why}");
    Ok(None)
}

/// Scans until it is stopped: by a signal or a reader that went away (0), or after a number of
/// scans (as of the last one).
struct Watch {
    shutdown: Shutdown,
    pace: Interval,
    phase: WatchPhase,
    /// The next action, once it is known.
    action: Option<NextAction>,
    state_exits: StateExits,
    printer: ReportPrinter,
    clock: ClockOffset,
    /// The number of scans that are left; `None` if it is unlimited.
    left: Option<u64>,
    /// The exit code, set when the watch ends.
    code: Option<ExitCode>,
}

/// The phase of a scan. Scans are slow, so they run in threads of their own.
enum WatchPhase {
    /// Waiting until the next scan is due.
    Pausing(Scanner),
    Collecting(JoinHandle<(Scanner, ScannedSockets)>),
    Evaluating(JoinHandle<Scanner>),
    /// Waiting for the records of sockets that are gone.
    Settling(Scanner, Instant),
    Ended,
}

/// An event that takes a scan to its next phase.
enum NextAction {
    Stop,
    Start,
    Evaluate(Box<Result<(Scanner, ScannedSockets), JoinError>>),
    Settle(Box<Result<Scanner, JoinError>>),
    Report,
}

impl Watch {
    /// Waits for the next action. Safe to cancel.
    async fn next_action(&mut self) -> NextAction {
        let Self {
            shutdown,
            pace,
            phase,
            ..
        } = self;
        let action = async {
            match phase {
                WatchPhase::Pausing(_) => {
                    pace.tick().await;
                    NextAction::Start
                }
                WatchPhase::Collecting(task) => NextAction::Evaluate(Box::new(task.await)),
                WatchPhase::Evaluating(task) => NextAction::Settle(Box::new(task.await)),
                WatchPhase::Settling(_, until) => {
                    sleep_until(*until).await;
                    NextAction::Report
                }
                WatchPhase::Ended => pending().await,
            }
        };
        tokio::select! {
            () = shutdown.requested() => NextAction::Stop,
            action = action => action,
        }
    }

    /// Takes the action that [`Self::next_action`] has waited for.
    fn advance(&mut self, session: Option<&Session<Live>>) -> anyhow::Result<()> {
        const SCANNER_PANICKED: &str = "a scan ended in a panic";
        match self.action.take() {
            None => {}
            Some(NextAction::Stop) => self.code = Some(ExitCode::SUCCESS),
            Some(NextAction::Start) => {
                if let WatchPhase::Pausing(scanner) =
                    mem::replace(&mut self.phase, WatchPhase::Ended)
                {
                    self.phase = WatchPhase::Collecting(spawn_blocking(move || {
                        let collected = scanner.collect();
                        (scanner, collected)
                    }));
                }
            }
            Some(NextAction::Evaluate(collected)) => {
                let (mut scanner, mut collected) = collected.context(SCANNER_PANICKED)?;
                for socket in &mut collected.sockets {
                    let session = session.as_ref();
                    let seen =
                        session.and_then(|session| session.entered_at(socket.id, socket.state));
                    // What is older than the session an agent may have seen.
                    socket.entered = seen.or(socket.entered);
                }
                self.phase = WatchPhase::Evaluating(spawn_blocking(move || {
                    scanner.evaluate(collected);
                    scanner
                }));
            }
            Some(NextAction::Settle(scanner)) => {
                let scanner = scanner.context(SCANNER_PANICKED)?;
                let wait = session.map_or(Duration::ZERO, |_| LAST_RECORDS_DELAY);
                self.phase = WatchPhase::Settling(scanner, Instant::now() + wait);
                return self.report_if_settled();
            }
            Some(NextAction::Report) => return self.report(),
        }
        Ok(())
    }

    /// Reports a scan as soon as it is known how all sockets that are gone have ended.
    fn report_if_settled(&mut self) -> anyhow::Result<()> {
        let WatchPhase::Settling(scanner, _) = &self.phase else {
            return Ok(());
        };
        let vanished = scanner.vanished();
        if self.state_exits.exits_of(&vanished).len() < vanished.len() {
            return Ok(());
        }
        self.report()
    }

    fn report(&mut self) -> anyhow::Result<()> {
        let WatchPhase::Settling(mut scanner, _) = mem::replace(&mut self.phase, WatchPhase::Ended)
        else {
            return Ok(());
        };
        scanner.resolve(&self.state_exits.exits_of(&scanner.vanished()));
        self.state_exits.end_scan();
        let complete = self.printer.print_gaps(&scanner.take_gaps());
        self.clock.refresh();
        let report = scanner.report();
        if self.printer.print(report)? == PrintOutcome::ReaderGone {
            self.code = Some(ExitCode::SUCCESS);
        }
        self.left = self.left.map(|left| left - 1);
        if self.code.is_none() && self.left == Some(0) {
            self.code = Some(scan_exit_code(report.stuck().next().is_some(), complete));
        }
        self.phase = WatchPhase::Pausing(scanner);
        Ok(())
    }
}

impl Consumer<Live> for Watch {
    type Output = ExitCode;

    async fn wait(&mut self) {
        self.action = Some(self.next_action().await);
    }

    fn on_wake(&mut self, session: &mut Session<Live>) -> anyhow::Result<()> {
        self.advance(Some(session))
    }

    fn wants_transitions(&self) -> bool {
        true
    }

    fn on_transition(&mut self, raw: &RawTransition) {
        self.state_exits
            .record(&raw.transition, raw.time_in_old_state);
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        if let Finding::Loss(loss) = finding {
            notice!("{}", loss_message(&loss));
        }
        Ok(())
    }

    fn after_findings(&mut self, _: &mut Session<Live>) -> anyhow::Result<()> {
        self.report_if_settled()
    }

    fn is_done(&self) -> bool {
        self.code.is_some()
    }

    fn finish(self, _: &mut Session<Live>) -> anyhow::Result<ExitCode> {
        Ok(self.code.unwrap_or(ExitCode::SUCCESS))
    }
}
