//! `tcpclose watch`.

mod args;
mod printer;
mod replay;
mod viewer;

use std::path::Path;
use std::process::ExitCode;

use super::event_loop;
use super::shutdown::Shutdown;
use super::tracing::announce;
use crate::notice::notice;
use crate::output::cgroup_names::{CgroupNames, GivenNames};
use crate::session::Session;
pub(super) use args::Args;
use printer::{Printer, WhenFull};
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::kernel::loader::TraceOptions;
use viewer::Viewer;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.replay {
        return replay::run(args, file);
    }
    let options = args.options()?;
    let runtime = event_loop()?;
    runtime.block_on(watch(args, options))
}

async fn watch(args: &Args, options: TraceOptions) -> anyhow::Result<ExitCode> {
    let signals = Shutdown::listen()?;
    let stuck_after = (!args.transitions).then_some(args.stuck.stuck_after.into());
    let mut session = Session::builder(options)
        .stuck_after(stuck_after)
        .record_to(args.record.as_deref())
        .start()?;
    let filter = args.filters.in_user_space();
    // The names come from the recording, so that a replay shows the same ones.
    let cgroups: Box<dyn CgroupNames> = match session.recorded_cgroups() {
        Some(names) => Box::new(GivenNames::new(names)),
        None => Box::new(Cgroups::new()),
    };
    let pids = filter.pids.clone();
    let printer = Printer::new(args, filter, session.clock(), cgroups, WhenFull::Drop)?;
    session.begin_recording()?;
    announce("watching", &session);
    for pid in pids {
        if !Path::new("/proc").join(pid.to_string()).exists() {
            notice!(
                "there is no process {pid} now; its connections are shown if one with that number starts"
            );
        }
    }
    let signals = signals.after(args.duration);
    let viewer = Viewer::live(printer, signals, args.record.is_some());
    session.run(viewer).await
}
