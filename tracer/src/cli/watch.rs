//! `tcpclose watch`.

mod printer;
mod replay;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::count;
use super::event_loop;
use super::record;
use super::shutdown::Shutdown;
use crate::filter::args::FilterArgs;
use crate::notice::notice;
use crate::output::cgroup_names::{CgroupNames, GivenNames};
use crate::output::clock::WallClock;
use crate::output::table::STATES_HELP;
use crate::session::{Session, now};
use printer::{Printer, WhenFull, ended};
use tcpclose_core::stuck::LEAST_STUCK_AFTER;
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::kernel::loader::{Options, Tier};

const AFTER_HELP: &str = "\
Examples:
  tcpclose watch                      every close on this host
  tcpclose watch -L 3306,5432         only connections of these local ports
  tcpclose watch --format json        one JSON object a line
  tcpclose watch --replay FILE        what was recorded with --record or `tcpclose record`

Exit codes: 0 fine (also after Ctrl-C, and when the reader of a pipe has gone), 2 could not run, bad usage, or a
recording that is broken";

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Columns for people
    Table,
    /// One JSON object a line
    Json,
}

/// What `tcpclose watch` takes.
#[derive(Clone, clap::Args)]
#[command(after_help = AFTER_HELP, after_long_help = format!("{STATES_HELP}\n\n{AFTER_HELP}"))]
pub(super) struct Args {
    #[command(flatten)]
    filters: FilterArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Stop after N lines
    #[arg(long, value_name = "N", value_parser = count)]
    count: Option<u64>,
    /// Stop after this long, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    stuck: Stuck,
    /// Print each raw state transition, as bcc's tcpstates does, and nothing else
    #[arg(long, conflicts_with = "stuck_after")]
    transitions: bool,
    /// Use the classic tracepoint even where the kernel has BTF (tells less)
    #[arg(long)]
    no_btf: bool,
    /// Let the eBPF programs say on stderr which transitions they leave out
    #[arg(short, long)]
    verbose: bool,
    /// Record it all too, to be shown again with --replay; a file that is there is overwritten
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Show what was recorded in a file, instead of what happens now
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "no_btf", "verbose", "duration", "stuck_after"])]
    replay: Option<PathBuf>,
}

/// When a connection is told to be stuck.
#[derive(Clone, clap::Args)]
pub(super) struct Stuck {
    /// Say which connections are in CLOSE_WAIT for this long, and when they are no more
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = stuck_after)]
    pub(super) stuck_after: Duration,
}

fn stuck_after(words: &str) -> Result<Duration, String> {
    match humantime::parse_duration(words) {
        Ok(after) if after < LEAST_STUCK_AFTER => Err("it must be at least 100ms".into()),
        Ok(after) => Ok(after),
        Err(error) => Err(error.to_string()),
    }
}

impl Args {
    fn options(&self) -> anyhow::Result<Options> {
        Ok(Options {
            every_transition: self.transitions,
            classic: self.no_btf,
            log: self.verbose.then_some(crate::notice::write_line),
            filter: self.filters.kernel.live()?,
            ..Options::default()
        })
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.replay {
        return replay::run(args, file);
    }
    let options = args.options()?;
    let runtime = event_loop()?;
    runtime.block_on(watch(args, options))
}

async fn watch(args: &Args, options: Options) -> anyhow::Result<ExitCode> {
    let told = Shutdown::listen()?;
    let stuck_after = (!args.transitions).then_some(args.stuck.stuck_after.into());
    let mut session = Session::builder(options)
        .stuck_after(stuck_after)
        .record_to(args.record.as_deref())
        .start()?;
    announce("watching", &session);

    for pid in &args.filters.in_user_space().pids {
        if !Path::new("/proc").join(pid.to_string()).exists() {
            notice!(
                "there is no process {pid} now; its connections are shown if one with that number starts"
            );
        }
    }
    // A recording has its own names, so that a replay shows the same.
    let cgroups: Box<dyn CgroupNames> = match session.recorded_cgroups() {
        Some(names) => Box::new(GivenNames::new(names)),
        None => Box::new(Cgroups::new()),
    };
    let mut live = Live {
        printer: Printer::new(args, args.filters.in_user_space(), cgroups, WhenFull::Drop)?,
        session,
        clock: WallClock::new(),
    };
    let mut told = told.after(args.duration);
    while !live.printer.is_done() && !live.session.recording_has_failed() {
        tokio::select! {
            ready = live.session.wait() => ready.context("polling the ring buffer failed")?,
            end = live.printer.writer.closed() => {
                live.finish_recording()?;
                return ended(end);
            }
            () = told.wanted() => break,
        }
        live.pump()?;
    }
    // What happened up to now is told, also what waited for its cause.
    live.session.settle().await;
    live.pump()?;
    let recorded = live.finish_recording();
    let Live {
        printer, session, ..
    } = live;
    let code = printer.finish(session.waiting_for_fin(), now())?;
    recorded.map(|()| code)
}

/// A session that runs, and where it is shown.
struct Live<'a> {
    session: Session,
    printer: Printer<'a>,
    clock: WallClock,
}

impl Live<'_> {
    /// Takes from the session and gives to the printer.
    fn pump(&mut self) -> anyhow::Result<()> {
        let Self {
            session,
            printer,
            clock,
        } = self;
        clock.refresh();
        session.set_wall_clock(clock.offset());
        printer.writer.set_wall_clock(clock.offset());
        session
            .pump(|raw| printer.show_transition(raw))
            .context("reading the kernel's records failed")?;
        while let Some(finding) = session.next_finding() {
            printer.show(finding);
        }
        printer.tell_dropped(now());
        Ok(())
    }

    fn finish_recording(&mut self) -> anyhow::Result<()> {
        match &self.printer.args.record {
            Some(file) => record::finish(&mut self.session, file),
            None => Ok(()),
        }
    }
}

pub(super) fn announce(doing: &str, session: &Session) {
    let tier = match session.tier {
        Tier::Btf => "every transition with the socket's own evidence",
        Tier::Classic => {
            "the classic tracepoint only: no paths in doubt, no byte counts (see `tcpclose doctor`)"
        }
    };
    notice!("{doing}; {tier}; Ctrl-C ends it");
    for shortcoming in &session.shortcomings {
        notice!("{shortcoming}");
    }
}
