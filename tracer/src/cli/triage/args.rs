//! The arguments of `tcpclose triage`.

use std::time::Duration;

use crate::cli::common::{AgentArg, OutputArgs};
use crate::duration_arg::duration;
use crate::filter::args::FilterArgs;

/// What `tcpclose triage` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Looks for stuck sockets, destinations without free local ports, connections that close abnormally while it watches, and \
losses. Each is shown with its process, why it is so, what to do, and the command to go on with. Without the rights to \
trace it scans only, and says so.

Exit codes: 0 nothing is wrong, 1 something is, 2 nothing was seen to be, and not everything could be examined, or cannot \
run or wrong usage

Examples:
  tcpclose triage                 what is wrong on this host, in ten seconds
  tcpclose triage --for 1m        watches for longer
  tcpclose triage --last 20m      closes from the agent's flight recorder, and two scans now
  tcpclose triage nginx           only connections of processes named nginx
  tcpclose triage --json          for tickets and programs")]
pub(in crate::cli) struct TriageArgs {
    /// Watch for this time
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(super) span: Duration,
    /// Take the closes of this last time from the agent's flight recorder, such as 20m, instead of
    /// watching
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "span")]
    pub(super) last: Option<Duration>,
    /// Report sockets that have been stuck in their state for at least this time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(super) min_age: Duration,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) agent: AgentArg,
    #[command(flatten)]
    pub(super) filters: FilterArgs,
}
