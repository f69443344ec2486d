//! `tcpclose leaks --watch INTERVAL`: one scan after the other. A tracing session runs beside them
//! where the kernel allows one: it sees when sockets enter their state and how they leave it, which
//! scans can only estimate.

use std::future::pending;
use std::mem;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::args::{Args, exit_code};
use super::printer::{Printer, Shown};

use crate::cli::shutdown::Shutdown;
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use crate::output::table::loss_message;
use crate::session::{Consumer, Live, RawTransition, Session};
use crate::stuck::{Collected, Departures, Scanner};
use tcpclose_core::finding::Finding;
use tcpclose_sys::kernel::loader::TraceOptions;

/// The time after which the records of sockets that a scan found gone have been read: while there
/// is traffic, the ring buffer is read every 20 ms.
const SETTLE: Duration = Duration::from_millis(75);

/// Scans at this interval, beside a tracing session where one can be started.
pub(super) async fn run(
    args: &Args,
    scanner: Scanner,
    printer: Printer,
    clock: ClockOffset,
    every: Duration,
) -> anyhow::Result<ExitCode> {
    let mut watch = Watch {
        shutdown: Shutdown::listen()?,
        pace: interval(every),
        stage: Stage::Pausing(scanner),
        step: None,
        departures: Departures::new(args.min_age.into()),
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
        watch.step = Some(watch.next_step().await);
        watch.advance(None)?;
    }
    Ok(watch.code.unwrap_or(ExitCode::SUCCESS))
}

/// Starts a session that traces the connections that are scanned for. Returns `None`, with a
/// notice, where a session would show nothing.
fn start_session(args: &Args) -> anyhow::Result<Option<Session<Live>>> {
    let options = TraceOptions {
        filter: args.filters.kernel.live()?,
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
    stage: Stage,
    /// The next step, once it is known.
    step: Option<Step>,
    departures: Departures,
    printer: Printer,
    clock: ClockOffset,
    /// The number of scans that are left; `None` if it is unlimited.
    left: Option<u64>,
    /// The exit code, set when the watch ends.
    code: Option<ExitCode>,
}

/// The stage of a scan. Scans are slow, so they run in threads of their own.
enum Stage {
    /// Waiting until the next scan is due.
    Pausing(Scanner),
    Collecting(JoinHandle<(Scanner, Collected)>),
    Evaluating(JoinHandle<Scanner>),
    /// Waiting for the records of sockets that are gone.
    Settling(Scanner, Instant),
    Ended,
}

/// An event that takes a scan to its next stage.
enum Step {
    Stop,
    Start,
    Evaluate(Result<(Scanner, Collected), JoinError>),
    Settle(Result<Scanner, JoinError>),
    Report,
}

impl Watch {
    /// Waits for the next step. Safe to cancel.
    async fn next_step(&mut self) -> Step {
        let Self {
            shutdown,
            pace,
            stage,
            ..
        } = self;
        let step = async {
            match stage {
                Stage::Pausing(_) => {
                    pace.tick().await;
                    Step::Start
                }
                Stage::Collecting(task) => Step::Evaluate(task.await),
                Stage::Evaluating(task) => Step::Settle(task.await),
                Stage::Settling(_, until) => {
                    sleep_until(*until).await;
                    Step::Report
                }
                Stage::Ended => pending().await,
            }
        };
        tokio::select! {
            () = shutdown.requested() => Step::Stop,
            step = step => step,
        }
    }

    /// Takes the step that [`Self::next_step`] has waited for.
    fn advance(&mut self, session: Option<&Session<Live>>) -> anyhow::Result<()> {
        const PANICKED: &str = "a scan ended in a panic";
        match self.step.take() {
            None => {}
            Some(Step::Stop) => self.code = Some(ExitCode::SUCCESS),
            Some(Step::Start) => {
                if let Stage::Pausing(scanner) = mem::replace(&mut self.stage, Stage::Ended) {
                    self.stage = Stage::Collecting(spawn_blocking(move || {
                        let collected = scanner.collect();
                        (scanner, collected)
                    }));
                }
            }
            Some(Step::Evaluate(collected)) => {
                let (mut scanner, mut collected) = collected.context(PANICKED)?;
                for socket in &mut collected.sockets {
                    let session = session.as_ref();
                    socket.entered =
                        session.and_then(|session| session.entered(socket.id, socket.state));
                }
                self.stage = Stage::Evaluating(spawn_blocking(move || {
                    scanner.evaluate(collected);
                    scanner
                }));
            }
            Some(Step::Settle(scanner)) => {
                let scanner = scanner.context(PANICKED)?;
                let wait = session.map_or(Duration::ZERO, |_| SETTLE);
                self.stage = Stage::Settling(scanner, Instant::now() + wait);
                return self.report_if_settled();
            }
            Some(Step::Report) => return self.report(),
        }
        Ok(())
    }

    /// Reports a scan as soon as it is known how all sockets that are gone have ended.
    fn report_if_settled(&mut self) -> anyhow::Result<()> {
        let Stage::Settling(scanner, _) = &self.stage else {
            return Ok(());
        };
        let gone = scanner.gone();
        if self.departures.of(&gone).len() < gone.len() {
            return Ok(());
        }
        self.report()
    }

    fn report(&mut self) -> anyhow::Result<()> {
        let Stage::Settling(mut scanner, _) = mem::replace(&mut self.stage, Stage::Ended) else {
            return Ok(());
        };
        scanner.resolve(&self.departures.of(&scanner.gone()));
        self.departures.end_scan();
        let complete = self.printer.print_gaps(&scanner.take_gaps());
        self.clock.refresh();
        let report = scanner.report();
        if self.printer.print(report)? == Shown::NobodyReads {
            self.code = Some(ExitCode::SUCCESS);
        }
        self.left = self.left.map(|left| left - 1);
        if self.code.is_none() && self.left == Some(0) {
            self.code = Some(exit_code(report.stuck().next().is_some(), complete));
        }
        self.stage = Stage::Pausing(scanner);
        Ok(())
    }
}

impl Consumer<Live> for Watch {
    type Outcome = ExitCode;

    async fn wait(&mut self) {
        self.step = Some(self.next_step().await);
    }

    fn on_wake(&mut self, session: &mut Session<Live>) -> anyhow::Result<()> {
        self.advance(Some(session))
    }

    fn wants_transitions(&self) -> bool {
        true
    }

    fn on_transition(&mut self, raw: &RawTransition<'_>) {
        self.departures.note(raw.transition, raw.dwell);
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
