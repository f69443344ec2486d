//! `tcpclose ports`.

mod args;
mod printer;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::common::{PrintOutcome, scan_exit_code, single_threaded_runtime};
use super::shutdown::Shutdown;
use crate::notice::notice;
use crate::ports::PortScanner;
pub(super) use args::PortsArgs;
use printer::RoutesPrinter;
use tcpclose_core::routes::{Fullness, RoutesReport};

pub(super) fn run(args: &PortsArgs) -> anyhow::Result<ExitCode> {
    if let Some(note) = args.filters.note_on_contradictions() {
        notice!("{note}");
    }
    let scanner = PortScanner::new(args.scan_options()?);
    let mut printer = RoutesPrinter::new(args);
    match args.watch {
        None => {
            let (report, gaps) = scanner.scan();
            let complete = printer.print_gaps(&gaps);
            match printer.print(&report)? {
                PrintOutcome::ReaderGone => Ok(ExitCode::SUCCESS),
                PrintOutcome::Printed => Ok(exit_code(&report, complete)),
            }
        }
        Some(every) => {
            let runtime = single_threaded_runtime()?;
            let code = runtime.block_on(watch(args, scanner, printer, every));
            // A scan may be under way.
            runtime.shutdown_background();
            code
        }
    }
}

/// Scans at this interval until it is stopped: by a signal or a reader that went away (0), or after
/// a number of scans (as of the last one).
async fn watch(
    args: &PortsArgs,
    mut scanner: PortScanner,
    mut printer: RoutesPrinter,
    every: Duration,
) -> anyhow::Result<ExitCode> {
    let mut shutdown = Shutdown::listen()?;
    let mut pace = interval(every);
    // A scan that took longer than the interval is followed by a whole interval.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = args.count;
    loop {
        let scan = async {
            pace.tick().await;
            let scanned = spawn_blocking(move || (scanner.scan(), scanner));
            scanned.await.context("a scan ended in a panic")
        };
        let ((report, gaps), same) = tokio::select! {
            () = shutdown.requested() => return Ok(ExitCode::SUCCESS),
            scanned = scan => scanned?,
        };
        scanner = same;
        let complete = printer.print_gaps(&gaps);
        if printer.print(&report)? == PrintOutcome::ReaderGone {
            return Ok(ExitCode::SUCCESS);
        }
        left = left.map(|left| left - 1);
        if left == Some(0) {
            return Ok(exit_code(&report, complete));
        }
    }
}

/// Returns the exit code of a scan.
fn exit_code(report: &RoutesReport, complete: bool) -> ExitCode {
    let is_scarce = report.count(Fullness::Full) + report.count(Fullness::NearlyFull) > 0;
    let unknown = report.count(Fullness::Unknown) > 0 || report.unknown_owner_scarce > 0;
    let is_known = is_scarce || !unknown;
    scan_exit_code(is_scarce, complete && is_known)
}
