//! `tcpclose watch --replay FILE`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use super::Args;
use super::printer::{Printer, WhenFull};
use crate::cli::replay_common;
use crate::notice::notice;
use crate::output::cgroup_names::GivenNames;
use crate::recording::Seen;
use crate::session::Replay;

/// Shows what was recorded, as fast as it can be read and written.
pub(super) fn run(args: &Args, file: &Path) -> anyhow::Result<ExitCode> {
    let (args, file) = (args.clone(), file.to_owned());
    replay_common::until_stopped(move |stop| replay(&args, &file, stop))
}

fn replay(args: &Args, file: &Path, stop: &AtomicBool) -> anyhow::Result<ExitCode> {
    let cannot = || format!("{} cannot be replayed", file.display());
    let mut replay = Replay::open(file).with_context(cannot)?;
    if replay.head().seen == Seen::Classic {
        notice!(
            "it was recorded with the classic tracepoint only: no paths in doubt, no byte counts"
        );
    }
    if args.transitions && !replay.head().every_transition {
        notice!(
            "it was recorded without --transitions: those that tell nothing of a close are not in it"
        );
    }
    let cgroups = Box::new(GivenNames::new(replay.cgroups()));
    let filter = args.filters.recorded()?;
    let mut printer = Printer::new(args, filter, cgroups, WhenFull::Wait)?;
    let mut broken = None;
    while !printer.is_done() && !stop.load(Ordering::Relaxed) {
        printer.writer.set_wall_clock(replay.wall_clock());
        let more = replay.pump(|raw| printer.show_transition(raw));
        while let Some(finding) = replay.next_finding() {
            printer.show(finding);
        }
        match more {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    let code = printer.finish(replay.waiting_for_fin(), replay.now())?;
    Ok(replay_common::exit_code(broken, file, code))
}
