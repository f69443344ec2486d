//! `tcpclose watch --replay FILE` and `--last TIME`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;

use super::args::WatchArgs;
use super::consumer::WatchConsumer;
use super::printer::{LinePrinter, SlowReaderPolicy};
use crate::cgroup_names::RecordedCgroupNames;
use crate::cli::last::Recorded;
use crate::cli::replay_common;
use crate::cli::tracing::CLASSIC_TIER;
use crate::notice::notice;
use crate::recording::RecordedTier;

/// Shows a recording as fast as it can be read and written.
pub(super) fn run(args: &WatchArgs, recorded: Recorded) -> anyhow::Result<ExitCode> {
    let args = args.clone();
    replay_common::until_stopped(move |stop| replay(&args, &recorded, stop))
}

fn replay(
    args: &WatchArgs,
    recorded: &Recorded,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<ExitCode> {
    let mut session = recorded.open()?;
    if session.head().seen == RecordedTier::Classic {
        notice!("it was recorded with {CLASSIC_TIER}");
    }
    if args.transitions && !session.head().every_transition {
        notice!(
            "it was recorded without --transitions: transitions that are not part of a close are missing"
        );
    }
    if let Some(note) = args.closes.filters.note_on_recordings() {
        notice!("{note}");
    }
    let cgroups = Box::new(RecordedCgroupNames::new(session.cgroups()));
    let filter = args.closes.recorded_filter()?;
    let mut printer = LinePrinter::new(
        args,
        filter,
        session.clock(),
        cgroups,
        SlowReaderPolicy::Wait,
    )?;
    if session.is_span_incomplete() {
        printer.note_incomplete();
    }
    let consumer = WatchConsumer::replay(printer, stop);
    let code = Handle::current().block_on(session.run(consumer))?;
    Ok(recorded.exit_code(&session, code))
}
