//! `tcpclose watch --replay FILE`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;

use super::args::Args;
use super::printer::{Printer, WhenFull};
use super::viewer::Viewer;
use crate::cli::replay_common;
use crate::notice::notice;
use crate::output::cgroup_names::GivenNames;
use crate::recording::Seen;
use crate::session::Session;

/// Shows a recording as fast as it can be read and written.
pub(super) fn run(args: &Args, file: &Path) -> anyhow::Result<ExitCode> {
    let (args, file) = (args.clone(), file.to_owned());
    replay_common::until_stopped(move |stop| replay(&args, &file, stop))
}

fn replay(args: &Args, file: &Path, stop: Arc<AtomicBool>) -> anyhow::Result<ExitCode> {
    let mut session = Session::open(file)?;
    if session.head().seen == Seen::Classic {
        notice!(
            "it was recorded with the classic tracepoint only: no paths in doubt, no byte counts"
        );
    }
    if args.transitions && !session.head().every_transition {
        notice!(
            "it was recorded without --transitions: those that tell nothing of a close are not in it"
        );
    }
    let cgroups = Box::new(GivenNames::new(session.cgroups()));
    let filter = args.filters.recorded()?;
    let printer = Printer::new(args, filter, session.clock(), cgroups, WhenFull::Wait)?;
    let viewer = Viewer::replay(printer, stop);
    let code = Handle::current().block_on(session.run(viewer))?;
    Ok(replay_common::exit_code(session.damage(), file, code))
}
