//! Shared by all commands that replay recordings.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tokio::time::timeout;

use super::common::{EXIT_FAILED, FLUSH_TIMEOUT, single_threaded_runtime};
use super::shutdown::Shutdown;
use crate::notice::notice;
use crate::recording::Damage;

/// Runs `work` until it is done or the user stops it, which sets the flag that is passed to `work`.
pub(super) fn until_stopped(
    work: impl FnOnce(Arc<AtomicBool>) -> anyhow::Result<ExitCode> + Send + 'static,
) -> anyhow::Result<ExitCode> {
    let runtime = single_threaded_runtime()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let code = runtime.block_on(async move {
        let mut shutdown = Shutdown::listen()?;
        // Runs in a thread of its own, because it waits for a slow reader, and Ctrl-C must not.
        let mut work = tokio::task::spawn_blocking(move || work(stopped));
        tokio::select! {
            code = &mut work => return code.context("the replay has ended before its time")?,
            () = shutdown.requested() => {}
        }
        stop.store(true, Ordering::Relaxed);
        match timeout(FLUSH_TIMEOUT, work).await {
            Ok(code) => code.context("the replay has ended before its time")?,
            Err(_) => Ok(ExitCode::SUCCESS),
        }
    });
    runtime.shutdown_background();
    code
}

/// Reports the parts of the recording that could not be read; returns `code` if there are none.
pub(super) fn exit_code(damage: &Damage, file: &Path, code: ExitCode) -> ExitCode {
    if damage.is_none() {
        return code;
    }
    for sentence in damage.sentences() {
        notice!("{}: {sentence}", file.display());
    }
    ExitCode::from(EXIT_FAILED)
}
