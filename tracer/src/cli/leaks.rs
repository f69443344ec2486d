//! `tcpclose leaks`.

mod printer;
mod replay;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::count;
use super::event_loop;
use super::shutdown::Shutdown;
use crate::clock_offset::ClockOffset;
use crate::filter::args::FilterArgs;
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::stuck::{CloseWaitHistory, CloseWaitTracer, Scanner, Wanted};
use printer::{Format, Printer, Shown};
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::kernel::loader::Options;
use tcpclose_sys::kernel::netns;

/// Some sockets are stuck.
const EXIT_SOME: u8 = 1;
/// Not everything could be looked at.
const EXIT_BLIND: u8 = 2;

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
    fn wanted(&self) -> anyhow::Result<Wanted> {
        let netns = self.filters.kernel.namespace()?;
        let cookie = netns.as_ref().map(|handle| handle.enter(netns::cookie));
        Ok(Wanted {
            min_age: self.min_age.into(),
            filter: self.filters.live()?,
            netns,
            cookie: cookie.and_then(|entered| entered.ok()?.ok()),
            still_sending: self.all,
        })
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let (Some(file), Some(every)) = (&args.replay, args.watch) {
        return replay::run(args, file, every.into());
    }
    let mut looker = Scanner::new(args.wanted()?);
    let (offset, cgroups) = (ClockOffset::measured(), Box::new(Cgroups::new()));
    let clock = WallClock::new(offset.clone());
    let watching = args.watch.is_some();
    let mut shower = Printer::new(args.format, args.all, watching, clock, cgroups);
    match args.watch {
        None => {
            let (report, _) = looker.look();
            let seen = report.stuck() > 0;
            let complete = shower.say_blind(&looker.take_blind());
            match shower.show(report, vec![])? {
                Shown::NobodyReads => Ok(ExitCode::SUCCESS),
                Shown::Fully => Ok(exit_code(seen, complete)),
            }
        }
        Some(every) => {
            let runtime = event_loop()?;
            runtime.block_on(async {
                if let Some(testimony) = witness(args)? {
                    looker = looker.with_testimony(testimony);
                }
                watch(looker, shower, &offset, every, args.count).await
            })
        }
    }
}

fn exit_code(seen: bool, complete: bool) -> ExitCode {
    match (seen, complete) {
        (_, false) => ExitCode::from(EXIT_BLIND),
        (true, true) => ExitCode::from(EXIT_SOME),
        (false, true) => ExitCode::SUCCESS,
    }
}

/// Traces, beside the looks, when sockets enter CLOSE_WAIT. `None` where nothing can be traced; says so.
fn witness(args: &Args) -> anyhow::Result<Option<CloseWaitHistory>> {
    let options = Options {
        filter: args.filters.kernel.live()?,
        ..Options::default()
    };
    let why = match CloseWaitTracer::start(&options, args.min_age.into()) {
        Ok(Some(witness)) => {
            let testimony = witness.testimony();
            tokio::spawn(async {
                if let Err(error) = witness.watch().await {
                    notice!(
                        "from now on ages are estimated, as the ring buffer cannot be read: {error}"
                    );
                }
            });
            return Ok(Some(testimony));
        }
        Ok(None) => "this kernel's records have no socket cookies".to_owned(),
        Err(error) => error.to_string(),
    };
    notice!("all ages are estimated: {why}");
    Ok(None)
}

/// Looks until told to stop: by Ctrl-C or a reader that went away (0), or after `count` looks (as of the last of them).
async fn watch(
    mut looker: Scanner,
    mut shower: Printer,
    offset: &ClockOffset,
    every: Duration,
    count: Option<u64>,
) -> anyhow::Result<ExitCode> {
    let mut told = Shutdown::listen()?;
    let mut pace = tokio::time::interval(every);
    // A look that took longer than that is followed by a whole interval.
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks = 0;
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            () = told.requested() => return Ok(ExitCode::SUCCESS),
        }
        // The witness goes on meanwhile.
        let look = tokio::task::spawn_blocking(move || {
            let looked = looker.look();
            (looker, looked)
        });
        let (report, resolved);
        (looker, (report, resolved)) = look.await.context("a look ended in a panic")?;
        let seen = report.stuck() > 0;
        let complete = shower.say_blind(&looker.take_blind());
        offset.refresh();
        if shower.show(report, resolved)? == Shown::NobodyReads {
            return Ok(ExitCode::SUCCESS);
        }
        looks += 1;
        if count.is_some_and(|count| looks >= count) {
            return Ok(exit_code(seen, complete));
        }
    }
}
