//! `tcpclose watch`.

mod args;
mod consumer;
mod endpoint_joiner;
mod explain;
mod heartbeat;
mod printer;
mod replay;
mod resets;
mod summary;

use std::path::Path;
use std::process::ExitCode;

use super::common::{if_exists, single_threaded_runtime};
use super::shutdown::Shutdown;
use super::tracing::announce;
use crate::cgroup_names::{CgroupNames, RecordedCgroupNames};
use crate::notice::notice;
use crate::session::Session;
use args::Shown;
pub(super) use args::WatchArgs;
use consumer::WatchConsumer;
pub(super) use explain::ExplainArgs;
use printer::{LinePrinter, SlowReaderPolicy};
pub(super) use resets::ResetsArgs;
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::kernel::loader::TraceOptions;

pub(super) fn run(args: &WatchArgs) -> anyhow::Result<ExitCode> {
    if let Some(note) = args.closes.filters.note_on_contradictions() {
        notice!("{note}");
    }
    if let Some(recorded) = args.closes.last.recorded(args.closes.replay.as_ref()) {
        return replay::run(args, recorded);
    }
    let options = args.options()?;
    let runtime = single_threaded_runtime()?;
    runtime.block_on(watch(args, options))
}

async fn watch(args: &WatchArgs, options: TraceOptions) -> anyhow::Result<ExitCode> {
    let signals = Shutdown::listen()?;
    let finds_stuck = !args.transitions && args.shown == Shown::Everything;
    let stuck_after = finds_stuck.then_some(args.stuck.stuck_after.into());
    let mut session = Session::builder(options)
        .stuck_after(stuck_after)
        .record_to(args.record.as_deref(), if_exists(args.force))
        .start()?;
    let filter = args.closes.user_space_filter();
    // The names come from the recording, so that a replay shows the same ones, but those of
    // containers, which no recording has.
    let cgroups: Box<dyn CgroupNames> = match session.recorded_cgroups() {
        Some(names) => Box::new(RecordedCgroupNames::for_this_host(names)),
        None => Box::new(Cgroups::new()),
    };
    let pids = filter.pids.clone();
    let printer = LinePrinter::new(
        args,
        filter,
        session.clock(),
        cgroups,
        SlowReaderPolicy::Drop,
    )?;
    session.begin_recording()?;
    announce("watching", &mut session);
    for pid in pids {
        if !Path::new("/proc").join(pid.to_string()).exists() {
            notice!(
                "there is no process {pid} now; its connections are shown if one with that number starts"
            );
        }
    }
    let signals = signals.after(args.closes.duration);
    let consumer = WatchConsumer::live(printer, signals, args.record.is_some());
    session.run(consumer).await
}
