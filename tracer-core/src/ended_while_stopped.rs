//! Endpoints that ended while nothing was traced, to be reported a part at a time.

use std::collections::VecDeque;

use super::live_endpoint::LiveEndpoint;
use super::types::Nanos;

/// The endpoints that a restart has missed the end of.
#[derive(Debug, Default)]
pub(super) struct EndedWhileStopped {
    pub endpoints: VecDeque<LiveEndpoint>,
    /// When they were found to have ended.
    pub at: Nanos,
    /// Whether their closes were not reported before.
    pub reports_closes: bool,
    /// How many were reported already, as a minisocket was left of them.
    pub with_minisocket: u64,
}

impl EndedWhileStopped {
    /// Returns when the next of them are to be reported: at once.
    pub fn next_due(&self) -> Option<Nanos> {
        (!self.endpoints.is_empty()).then_some(self.at)
    }
}
