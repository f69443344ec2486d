//! `tcpclose record`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::event_loop;
use super::shutdown::{self, Shutdown};
use super::watch::{Stuck, announce};
use crate::filter::args::KernelFilterArgs;
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::output::table::loss_message;
use crate::session::Session;
use tcpclose_core::finding::Finding;
use tcpclose_sys::kernel::loader::Options;

const AFTER_HELP: &str = "\
Examples:
  tcpclose record closes.rec --duration 10m
  tcpclose watch --replay closes.rec --format json

Exit codes: 0 fine (also after Ctrl-C), 2 could not run, could not write all, or bad usage";

/// What `tcpclose record` takes.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The file to make; one that is there is overwritten
    file: PathBuf,
    #[command(flatten)]
    filters: KernelFilterArgs,
    /// Stop after this long, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    stuck: Stuck,
    /// Record every state transition, for `watch --replay FILE --transitions`
    #[arg(long)]
    transitions: bool,
    /// Use the classic tracepoint even where the kernel has BTF (tells less)
    #[arg(long)]
    no_btf: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = Options {
        every_transition: args.transitions,
        classic: args.no_btf,
        filter: args.filters.live()?,
        ..Options::default()
    };
    let runtime = event_loop()?;
    runtime.block_on(record(args, options))
}

async fn record(args: &Args, options: Options) -> anyhow::Result<ExitCode> {
    let told = Shutdown::listen()?;
    let mut session = Session::builder(options)
        .stuck_after(Some(args.stuck.stuck_after.into()))
        .record_to(Some(&args.file))
        .start()?;
    announce("recording", &session);
    let mut clock = WallClock::new();
    let mut told = told.after(args.duration);
    while !session.recording_has_failed() {
        tokio::select! {
            ready = session.wait() => ready.context("polling the ring buffer failed")?,
            () = told.wanted() => break,
        }
        pump(&mut session, &mut clock)?;
    }
    // What happened up to now is recorded, also what waited for its cause.
    session.settle().await;
    pump(&mut session, &mut clock)?;
    finish(&mut session, &args.file)?;
    Ok(ExitCode::SUCCESS)
}

fn pump(session: &mut Session, clock: &mut WallClock) -> anyhow::Result<()> {
    clock.refresh();
    session.set_wall_clock(clock.offset());
    session
        .pump(|_| {})
        .context("reading the kernel's records failed")?;
    while let Some(finding) = session.next_finding() {
        if let Finding::Loss(loss) = finding {
            notice!("{}", loss_message(&loss));
        }
    }
    Ok(())
}

/// Ends the recording, if there is one, and says what is in the file. Whoever reads a pipe may take long, or for ever, so
/// the next Ctrl-C ends the program on the spot.
pub(super) fn finish(session: &mut Session, file: &Path) -> anyhow::Result<()> {
    shutdown::no_longer_wait();
    session.finish_recording(file)
}
