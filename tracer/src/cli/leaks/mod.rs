//! `tcpclose leaks`.

mod args;
mod destroy;
mod printer;
mod replay;
mod watch;

use std::process::ExitCode;

use super::common::single_threaded_runtime;
use super::top;
use crate::cli::common::{PrintOutcome, scan_exit_code};
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::stuck::Scanner;
pub(super) use args::LeaksArgs;
use printer::ReportPrinter;
use tcpclose_sys::host::cgroup::Cgroups;

pub(super) fn run(args: &LeaksArgs) -> anyhow::Result<ExitCode> {
    if let Some(every) = args.watch
        && args.fits_on_a_screen()
        && top::has_screen()
    {
        return top::run(&args.as_top(every)?);
    }
    if let Some(note) = args.filters.note_on_contradictions() {
        notice!("{note}");
    }
    if let (Some(file), Some(every)) = (&args.replay, args.watch) {
        return replay::run(args, file, every.into());
    }
    args.check_destroy()?;
    let mut scanner = Scanner::new(args.scan_options()?);
    let (offset, cgroups) = (ClockOffset::measured(), Box::new(Cgroups::new()));
    let clock = WallClock::new(offset.clone());
    let watching = args.watch.is_some();
    let mut printer = ReportPrinter::new(args.output, args.all, watching, clock, cgroups);
    match args.watch {
        None => {
            scanner.scan();
            let complete = printer.print_gaps(&scanner.take_gaps());
            if !scanner.agent_answers() {
                printer.note_missing_agent();
            }
            let report = scanner.report();
            if args.destroy {
                return destroy::run(report, args.yes, complete);
            }
            match printer.print(report)? {
                PrintOutcome::ReaderGone => Ok(ExitCode::SUCCESS),
                PrintOutcome::Printed => {
                    Ok(scan_exit_code(report.stuck().next().is_some(), complete))
                }
            }
        }
        Some(every) => {
            let runtime = single_threaded_runtime()?;
            let code = runtime.block_on(watch::run(args, scanner, printer, offset, every));
            // A scan may be under way.
            runtime.shutdown_background();
            code
        }
    }
}
