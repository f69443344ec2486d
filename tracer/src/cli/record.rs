//! `tcpclose record`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::common::{if_exists, single_threaded_runtime};
use super::shutdown::{self, Shutdown};
use super::tracing::{StuckArgs, announce};
use crate::duration_arg::duration;
use crate::filter::args::KernelFilterArgs;
use crate::notice::notice;
use crate::output::loss_message;
use crate::session::{Consumer, Live, Session};
use tcpclose_core::finding::Finding;
use tcpclose_sys::kernel::loader::TraceOptions;

const AFTER_HELP: &str = "\
Examples:
  tcpclose record closes.rec --duration 10m
  tcpclose watch --replay closes.rec --format json

Exit codes: 0 success (also after Ctrl-C), 2 cannot run, cannot write everything, or wrong usage";

/// What `tcpclose record` takes.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RecordArgs {
    /// The file to write; an existing one is refused (see --force)
    file: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    filters: KernelFilterArgs,
    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    stuck: StuckArgs,
    /// Record every state transition, for `watch --replay FILE --transitions`
    #[arg(long)]
    transitions: bool,
    /// Use the classic tracepoint even if the kernel has BTF (shows less)
    #[arg(long)]
    no_btf: bool,
}

pub(super) fn run(args: &RecordArgs) -> anyhow::Result<ExitCode> {
    let options = TraceOptions {
        every_transition: args.transitions,
        classic: args.no_btf,
        filter: args.filters.to_config().live()?,
        ..TraceOptions::default()
    };
    let runtime = single_threaded_runtime()?;
    runtime.block_on(record(args, options))
}

async fn record(args: &RecordArgs, options: TraceOptions) -> anyhow::Result<ExitCode> {
    let signals = Shutdown::listen()?;
    let mut session = Session::builder(options)
        .stuck_after(Some(args.stuck.stuck_after.into()))
        .record_to(Some(&args.file), if_exists(args.force))
        .start()?;
    session.begin_recording()?;
    announce("recording", &mut session);
    let consumer = DiscardFindings {
        shutdown: signals.after(args.duration),
        requested: false,
    };
    session.run(consumer).await
}

/// Drops the findings, which a replay makes again, and reports losses.
struct DiscardFindings {
    shutdown: Shutdown,
    requested: bool,
}

impl Consumer<Live> for DiscardFindings {
    type Output = ExitCode;

    async fn wait(&mut self) {
        self.shutdown.requested().await;
        self.requested = true;
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        if let Finding::Loss(loss) = finding {
            notice!("{}", loss_message(&loss));
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.requested
    }

    fn finish(self, _: &mut Session<Live>) -> anyhow::Result<ExitCode> {
        shutdown::restore_default_signals();
        Ok(ExitCode::SUCCESS)
    }
}
