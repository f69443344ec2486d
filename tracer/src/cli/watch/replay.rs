//! `tcpclose watch --replay FILE`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::Args;
use super::printer::{FLUSH_DEADLINE, Printer, WhenFull};
use super::wanted::Wanted;
use crate::cli::EXIT_FAILED;
use crate::output::cgroup_names::GivenNames;
use crate::recording::Seen;
use crate::session::Replay;

/// Shows what was recorded, as fast as it can be read and written.
pub(super) fn run(args: &Args, file: &Path) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the event loop failed")?;
    let stop = Arc::new(AtomicBool::new(false));
    let (args, file, stopped) = (args.clone(), PathBuf::from(file), Arc::clone(&stop));
    let code = runtime.block_on(async move {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // In a thread of its own: it waits for a slow reader, and Ctrl-C must not.
        let mut work = tokio::task::spawn_blocking(move || replay(&args, &file, &stopped));
        tokio::select! {
            code = &mut work => return code.context("the replay has ended before its time")?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.store(true, Ordering::Relaxed);
        match timeout(FLUSH_DEADLINE, work).await {
            Ok(code) => code.context("the replay has ended before its time")?,
            Err(_) => Ok(ExitCode::SUCCESS),
        }
    });
    runtime.shutdown_background();
    code
}

fn replay(args: &Args, file: &Path, stop: &AtomicBool) -> anyhow::Result<ExitCode> {
    let cannot = || format!("{} cannot be replayed", file.display());
    let mut replay = Replay::open(file).with_context(cannot)?;
    if replay.head().seen == Seen::Classic {
        eprintln!(
            "tcpclose: it was recorded with the classic tracepoint only: no paths in doubt, no byte counts"
        );
    }
    let cgroups = Box::new(GivenNames::new(replay.cgroups()));
    let wanted = Wanted::new(args, Some(args.filters.ends.options_of_recording()?));
    let mut printer = Printer::new(args, wanted, cgroups, WhenFull::Wait)?;
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
    match broken {
        Some(broken) => {
            eprintln!(
                "tcpclose: {}: {broken}; what stands before that was shown",
                file.display()
            );
            Ok(ExitCode::from(EXIT_FAILED))
        }
        None => Ok(code),
    }
}
