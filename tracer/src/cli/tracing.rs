//! Shared by all commands that trace the running kernel.

use std::time::Duration;

use crate::notice::notice;
use crate::session::{Live, Session};
use tcpclose_core::stuck::LEAST_STUCK_AFTER;
use tcpclose_sys::kernel::loader::Tier;

/// Options for stuck-socket detection.
#[derive(Clone, clap::Args)]
pub(super) struct StuckArgs {
    /// Report sockets that have been in CLOSE_WAIT for this time, and how that ends
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = stuck_after)]
    pub(super) stuck_after: Duration,
}

fn stuck_after(words: &str) -> Result<Duration, String> {
    match humantime::parse_duration(words) {
        Ok(after) if after < LEAST_STUCK_AFTER => Err("must be at least 100ms".into()),
        Ok(after) => Ok(after),
        Err(error) => Err(error.to_string()),
    }
}

/// Prints that tracing has begun, at which tier, and what cannot be seen.
pub(super) fn announce(doing: &str, session: &Session<Live>) {
    let tier = match session.tier() {
        Tier::Btf => "every transition with the socket's own evidence",
        Tier::Classic => {
            "the classic tracepoint only: no paths in doubt, no byte counts (see `tcpclose doctor`)"
        }
    };
    notice!("{doing}; {tier}; Ctrl-C ends it");
    for shortcoming in session.shortcomings() {
        notice!("{shortcoming}");
    }
}
