//! Shared by all commands that trace the running kernel.

use std::time::Duration;

use crate::duration_arg::{InvalidDuration, duration_from};
use crate::notice::notice;
use crate::session::{Live, Session};
use tcpclose_core::stuck::MIN_STUCK_AFTER;
use tcpclose_sys::kernel::loader::Tier;

/// Options for stuck-socket detection.
#[derive(Clone, Default, clap::Args)]
pub(super) struct StuckArgs {
    /// Report sockets that have been stuck in their state for this time, and how that ends
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = stuck_after)]
    pub(super) stuck_after: Duration,
}

fn stuck_after(text: &str) -> Result<Duration, InvalidDuration> {
    duration_from(MIN_STUCK_AFTER, text)
}

/// What tracing with the classic tracepoint lacks.
pub(super) const CLASSIC_TIER: &str =
    "the classic tracepoint only: some close paths stay unknown, and there are no byte counts";

/// Prints that tracing has begun, at which tier, and what cannot be seen. What was open before may
/// still be learnt; where that takes long, the session says so.
pub(super) fn announce(doing: &str, session: &mut Session<Live>) {
    let tier = match session.tier() {
        Tier::Btf => "every transition with its socket's evidence".to_owned(),
        Tier::Classic => format!("{CLASSIC_TIER} (see `tcpclose doctor`)"),
    };
    notice!("{doing}; {tier}; Ctrl-C ends it");
    session.announce_limitations();
}
