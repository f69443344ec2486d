//! The arguments of `tcpclose leaks`.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::common::{AgentArg, OutputArgs, positive_count, scan_interval};
use crate::cli::top::TopArgs;
use crate::duration_arg::duration;
use crate::filter::args::FilterArgs;
use crate::output::Format;
use crate::stuck::{EvidenceScope, ScanOptions};
use tcpclose_core::types::Nanos;

/// What `tcpclose leaks` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Verdicts: not_accepted (the application has not accepted the connection), eof_unread (it has not read the end of stream), \
eof_read (it has read everything and not closed the socket), half_closed (it has called shutdown() and not close(), and \
the peer is silent), unanswered (the peer does not acknowledge what was sent), peer_not_reading (it answers and does not \
read), silent (nothing moves; listed and not counted), still_sending and still_receiving (a half-close at work, which is \
not stuck). An age with ~ is an estimate.

Exit codes: 0 nothing is stuck, 1 something is stuck, 2 not everything could be examined (stderr names the gaps)

Examples:
  tcpclose leaks                  processes with stuck sockets, the worst first
  tcpclose leaks nginx            only processes named nginx
  tcpclose leaks --all -p 4242    each stuck socket of one process
  tcpclose leaks --watch 5s       growth, and when file descriptors run out
  tcpclose leaks --dead           connections to peers that may be gone, too
  tcpclose leaks --destroy        what could be destroyed, to have memory and peers back at once
  tcpclose leaks --watch 5s --replay FILE
                                  what was stuck when FILE was recorded")]
#[derive(Clone)]
pub(in crate::cli) struct LeaksArgs {
    /// Show sockets that have been in their state for at least this time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(super) min_age: Duration,
    /// List each socket; with --watch, half-closes at work too
    #[arg(short, long)]
    pub(super) all: bool,
    /// List established connections too that may be dead: the peer answers nothing, or they have
    /// been silent for TIME (15m) and have no keepalive
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "15m",
        value_parser = duration,
        conflicts_with = "replay"
    )]
    pub(super) dead: Option<Duration>,
    /// Read the epoll sets of processes with more than 10,000 descriptors too, which holds up
    /// their event loops for 50 ms and more
    #[arg(long, conflicts_with = "replay")]
    pub(super) inspect: bool,
    /// Name the sockets that can be destroyed (SOCK_DESTROY), and what their process and peer will
    /// see; with --yes, destroy them
    #[arg(long, conflicts_with_all = ["watch", "replay", "dead", "all"])]
    pub(super) destroy: bool,
    /// With --destroy: destroy them
    #[arg(long, requires = "destroy")]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Scan again at this interval; on a terminal, in the list of stuck sockets of `top` (unless
    /// --all or --count is given). JSON then has only what changes
    #[arg(short, long, value_name = "TIME", value_parser = scan_interval)]
    pub(super) watch: Option<Duration>,
    /// With --watch: stop after N scans
    #[arg(long, value_name = "N", requires = "watch", value_parser = positive_count)]
    pub(super) count: Option<u64>,
    /// With --watch: show a recording at each interval of its own time, instead of this host
    #[arg(
        long,
        value_name = "FILE",
        requires = "watch",
        conflicts_with = "min_age"
    )]
    pub(super) replay: Option<PathBuf>,
    #[command(flatten)]
    pub(super) agent: AgentArg,
    #[command(flatten)]
    pub(super) filters: FilterArgs,
}

/// The least `--min-age` of sockets that are to be destroyed: any connection that its peer closes
/// first is in CLOSE_WAIT for a moment.
const MIN_DESTROY_AGE: Duration = Duration::from_secs(1);

impl LeaksArgs {
    /// Refuses what does not go together with `--destroy`.
    pub(super) fn check_destroy(&self) -> anyhow::Result<()> {
        if self.destroy {
            anyhow::ensure!(
                self.min_age >= MIN_DESTROY_AGE,
                "--destroy takes sockets only that have been stuck for 1s or longer; raise --min-age"
            );
            anyhow::ensure!(
                self.output.format() == Format::Table,
                "--destroy writes text only; leave --json or --format away"
            );
        }
        Ok(())
    }

    /// Returns whether `top`'s list of stuck sockets shows what is asked for: all of it is on a
    /// screen, and nobody waits for the exit code.
    pub(super) fn fits_on_a_screen(&self) -> bool {
        self.output.format() == Format::Table
            && !self.all
            && self.count.is_none()
            && self.replay.is_none()
    }

    /// Returns the same for `top`.
    pub(super) fn as_top(&self, every: Duration) -> anyhow::Result<TopArgs> {
        let (agent, filters) = (self.agent.clone(), self.filters.clone());
        let (scans, color) = (self.scan_options()?, self.output.color());
        Ok(TopArgs::for_stuck(every, &scans, color, agent, filters))
    }

    /// Returns what is to be scanned for.
    pub(super) fn scan_options(&self) -> anyhow::Result<ScanOptions> {
        let (netns, netns_cookie) = self.filters.kernel.scanned_namespace()?;
        Ok(ScanOptions {
            min_age: self.min_age.into(),
            filter: self.filters.live()?,
            netns,
            netns_cookie,
            still_sending: self.all,
            dead_after: self.dead.map(Nanos::from),
            agent: self.agent.address(),
            evidence: match (self.destroy, self.inspect) {
                (true, _) => EvidenceScope::None,
                (false, true) => EvidenceScope::Everything,
                (false, false) => EvidenceScope::Cheap,
            },
        })
    }
}
