//! The arguments of `tcpclose top`.

use std::path::PathBuf;
use std::time::Duration;

use clap::ColorChoice;

use crate::cli::common::{AgentArg, positive_count};
use crate::duration_arg::{InvalidDuration, duration, duration_from};
use crate::filter::args::FilterArgs;
use crate::output::terminal;
use crate::output::top::ListKind;
use crate::stuck::{EvidenceScope, ScanOptions};
use tcpclose_core::types::Nanos;

/// The shortest time between two screens: a shorter one would only cost CPU time.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// What is new is shown at least so often, however rarely is scanned.
const MAX_STUCK_INTERVAL: Duration = Duration::from_secs(2);

/// What `tcpclose top` takes.
#[derive(Clone, clap::Args)]
#[command(after_help = "\
Services are containers or pods, else systemd units, else the processes of one name. Those in trouble come first. RESET/s \
counts all connections that close abnormally; rates are means of the last ten seconds. Stuck sockets, open files and \
ports come from scans of the host, at least five seconds apart. Without the rights to trace there is what scans show, \
without closes and resets. The key ? shows all keys.

Without a terminal, and with TERM=dumb, each interval is a block of text.

Exit codes: 0 it was ended, 2 cannot run, wrong usage, the terminal is gone, or a broken recording

Examples:
  tcpclose top                    what happens on this host, by service
  tcpclose top nginx              only connections of processes named nginx
  tcpclose top --port 5432        only connections with this port at either end
  tcpclose top --replay FILE      what `tcpclose record FILE` has recorded
  tcpclose top --count 1 > FILE   one interval, as text")]
pub(in crate::cli) struct TopArgs {
    /// Show what is new at this interval
    #[arg(short, long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub(super) interval: Duration,
    /// Stop after N intervals
    #[arg(long, value_name = "N", value_parser = positive_count)]
    pub(super) count: Option<u64>,
    /// Count sockets as stuck that have been in their state for at least this time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(super) min_age: Duration,
    /// Colours; auto: on a terminal, unless `NO_COLOR` is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
    /// Show a recording at the speed of reality, instead of this host; the arrow keys seek
    #[arg(long, value_name = "FILE", conflicts_with = "min_age")]
    pub(super) replay: Option<PathBuf>,
    #[command(flatten)]
    pub(super) agent: AgentArg,
    #[command(flatten)]
    pub(super) filters: FilterArgs,
    /// The list that is shown first.
    #[arg(skip = ListKind::Services)]
    pub(super) first: ListKind,
    /// What `tcpclose leaks` was asked to scan for.
    #[arg(skip)]
    pub(super) stuck: Option<StuckScans>,
}

/// The scans of `tcpclose leaks --watch`.
#[derive(Clone)]
pub(super) struct StuckScans {
    pub interval: Duration,
    pub dead_after: Option<Nanos>,
    pub evidence: EvidenceScope,
}

impl TopArgs {
    /// Returns what shows stuck sockets first, from the scans of `tcpclose leaks`.
    pub(in crate::cli) fn for_stuck(
        interval: Duration,
        scans: &ScanOptions,
        color: ColorChoice,
        agent: AgentArg,
        filters: FilterArgs,
    ) -> Self {
        Self {
            interval: interval.min(MAX_STUCK_INTERVAL),
            count: None,
            min_age: Duration::from_nanos(scans.min_age.0),
            color,
            replay: None,
            agent,
            filters,
            first: ListKind::Stuck,
            stuck: Some(StuckScans {
                interval,
                dead_after: scans.dead_after,
                evidence: scans.evidence,
            }),
        }
    }

    /// Returns whether the screen is coloured.
    pub(super) fn has_colours(&self) -> bool {
        match self.color {
            ColorChoice::Auto => terminal::has_colours(),
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        }
    }
}

fn interval(text: &str) -> Result<Duration, InvalidDuration> {
    duration_from(MIN_INTERVAL, text)
}
