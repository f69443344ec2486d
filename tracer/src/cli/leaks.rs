//! `tcpclose leaks`.

mod printer;
mod replay;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::count;
use super::event_loop;
use crate::clock_offset::ClockOffset;
use crate::filter::args::FilterArgs;
use crate::output::clock::WallClock;
use crate::stuck::{ScanOptions, Scanner};
use printer::{Format, Printer, Shown};
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::kernel::netns;

/// Some sockets are stuck.
const EXIT_SOME: u8 = 1;
/// Not everything could be looked at.
const EXIT_INCOMPLETE: u8 = 2;

/// What `tcpclose leaks` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Verdicts: not_accepted (the application did not accept() it), eof_unread (it did not read the end of stream), eof_read \
(it read everything and did not close), still_sending (a half-close at work: no leak). An age with ~ is estimated.

Exit codes: 0 nothing is stuck, 1 something is, 2 not everything could be looked at (stderr says what).

Examples:
  tcpclose leaks                      who leaks, worst first
  tcpclose leaks --all -p 4242        each socket of one process
  tcpclose leaks --watch 5s           growth, and when the descriptors run out
  tcpclose leaks --watch 5s --replay FILE
                                      as it was when that was recorded")]
#[derive(Clone)]
pub(super) struct Args {
    /// Only what is in CLOSE_WAIT for at least this long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    min_age: Duration,
    /// Show each socket; with --watch half-closes at work too
    #[arg(short, long)]
    all: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Look again and again, this long apart; JSON then tells only what changes
    #[arg(short, long, value_name = "TIME", value_parser = interval)]
    watch: Option<Duration>,
    /// With --watch: stop after N looks
    #[arg(long, value_name = "N", requires = "watch", value_parser = count)]
    count: Option<u64>,
    /// With --watch: show what was recorded in a file, at each interval of its time, instead of what is there now
    #[arg(
        long,
        value_name = "FILE",
        requires = "watch",
        conflicts_with = "min_age"
    )]
    replay: Option<PathBuf>,
    #[command(flatten)]
    filters: FilterArgs,
}

fn interval(words: &str) -> Result<Duration, String> {
    match humantime::parse_duration(words) {
        Ok(interval) if interval.is_zero() => Err("it must be longer than nothing".into()),
        Ok(interval) => Ok(interval),
        Err(error) => Err(error.to_string()),
    }
}

impl Args {
    fn scan_options(&self) -> anyhow::Result<ScanOptions> {
        let netns = self.filters.kernel.namespace()?;
        let cookie = netns.as_ref().map(|handle| handle.enter(netns::cookie));
        Ok(ScanOptions {
            min_age: self.min_age.into(),
            filter: self.filters.live()?,
            netns,
            netns_cookie: cookie.and_then(|entered| entered.ok()?.ok()),
            still_sending: self.all,
        })
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let (Some(file), Some(every)) = (&args.replay, args.watch) {
        return replay::run(args, file, every.into());
    }
    let mut scanner = Scanner::new(args.scan_options()?);
    let (offset, cgroups) = (ClockOffset::measured(), Box::new(Cgroups::new()));
    let clock = WallClock::new(offset.clone());
    let watching = args.watch.is_some();
    let mut printer = Printer::new(args.format, args.all, watching, clock, cgroups);
    match args.watch {
        None => {
            scanner.scan();
            let complete = printer.print_gaps(&scanner.take_gaps());
            let report = scanner.report();
            match printer.print(report)? {
                Shown::NobodyReads => Ok(ExitCode::SUCCESS),
                Shown::Fully => Ok(exit_code(report.stuck().next().is_some(), complete)),
            }
        }
        Some(every) => {
            let runtime = event_loop()?;
            let code = runtime.block_on(watch::run(args, scanner, printer, offset, every));
            // A scan may be under way.
            runtime.shutdown_background();
            code
        }
    }
}

fn exit_code(some_stuck: bool, complete: bool) -> ExitCode {
    match (some_stuck, complete) {
        (_, false) => ExitCode::from(EXIT_INCOMPLETE),
        (true, true) => ExitCode::from(EXIT_SOME),
        (false, true) => ExitCode::SUCCESS,
    }
}
