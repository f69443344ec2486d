//! `tcpclose top`.

mod args;
mod display;
mod key_decoder;
mod keys;
mod listed;
mod live;
mod message;
mod painter;
mod replay;
mod scan;
mod screen;
mod signals;
mod terminal_guard;

use std::process::ExitCode;

use super::common::single_threaded_runtime;
use crate::notice::notice;
pub(super) use args::TopArgs;
pub(super) use display::has_screen;

pub(super) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    if let Some(note) = args.filters.note_on_contradictions() {
        notice!("{note}");
    }
    match &args.replay {
        Some(file) => replay::run(args, file),
        None => {
            let runtime = single_threaded_runtime()?;
            let code = runtime.block_on(live::run(args));
            // A scan may be under way.
            runtime.shutdown_background();
            code
        }
    }
}
