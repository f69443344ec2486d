//! The arguments of `tcpclose ports`.

use std::time::Duration;

use crate::cli::common::{AgentArg, OutputArgs, positive_count, scan_interval};
use crate::filter::args::FilterArgs;
use crate::ports::PortScanOptions;

/// What `tcpclose ports` takes.
#[derive(clap::Args)]
#[command(after_help = "\
A route is one local address and one destination (address and port): each of its connections needs a local port of its \
own. USED counts the ports that connect() cannot use, of those that it may choose. Filters select routes of which a \
connection passes; counts are of all connections of a route.

Exit codes: 0 no route is nearly full, 1 a route uses 80% of its ports or more, 2 not everything could be examined \
(stderr names the gaps), or a route may be nearly full, or another process's, and that is not known

Examples:
  tcpclose ports                  the fullest routes of this host first
  tcpclose ports billing          only routes on which processes named billing have connections
  tcpclose ports --port 5432      only routes to this port
  tcpclose ports --watch 5s       again every five seconds")]
pub(in crate::cli) struct PortsArgs {
    /// List every route, not only the 20 fullest (JSON always has all)
    #[arg(short, long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Scan again at this interval
    #[arg(short, long, value_name = "TIME", value_parser = scan_interval)]
    pub(super) watch: Option<Duration>,
    /// With --watch: stop after N scans
    #[arg(long, value_name = "N", requires = "watch", value_parser = positive_count)]
    pub(super) count: Option<u64>,
    #[command(flatten)]
    pub(super) agent: AgentArg,
    #[command(flatten)]
    pub(super) filters: FilterArgs,
}

impl PortsArgs {
    /// Returns what is to be scanned for.
    pub(super) fn scan_options(&self) -> anyhow::Result<PortScanOptions> {
        let (netns, netns_cookie) = self.filters.kernel.scanned_namespace()?;
        Ok(PortScanOptions {
            filter: self.filters.live()?,
            netns,
            netns_cookie,
            agent: self.agent.address(),
        })
    }
}
