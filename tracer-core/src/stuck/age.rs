//! The age of a socket: the time in its present state.
//!
//! The age of a socket that was not seen to enter CLOSE_WAIT is estimated. The peer's FIN came with
//! an ACK, so the last ACK is no older than the FIN; no data can come after the FIN, so the last
//! data is no younger. The truth lies between these two, and normally the FIN *is* the last ACK
//! that came: the age of that is the estimate. What makes the estimate too small is an ACK that
//! came later: of bytes sent in CLOSE_WAIT, or of a keepalive probe. Where the peer's window is
//! closed, it answers probes of that window for ever: there, the last bytes that were sent take the
//! ACK's place.

use super::observed::ObservedSocket;
use crate::types::Nanos;

/// How an age is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum AgeCertainty {
    /// The tracer saw the socket enter its state.
    Observed,
    /// From the age of the last ACK that came.
    Estimated,
}

/// The age of a socket: when it entered its present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// The moment, or the latest that it can have been.
    pub since: Nanos,
    /// How the age is known.
    pub known: AgeCertainty,
    /// The earliest that it can have been: the last data came then, and none comes after a FIN.
    /// `None` where no data ever came.
    pub earliest: Option<Nanos>,
}

impl Age {
    const fn observed(since: Nanos) -> Self {
        Self {
            since,
            known: AgeCertainty::Observed,
            earliest: Some(since),
        }
    }

    /// Returns what one observation at `now` shows.
    pub(super) fn from_observation(socket: &ObservedSocket, now: Nanos) -> Self {
        if let Some(entered) = socket.entered {
            return Self::observed(entered);
        }
        let activity = socket.activity.unwrap_or_default();
        // While the peer's window is closed it answers probes; nothing moves since bytes were last
        // sent.
        let rested = socket.peer_window_closed_for();
        let rested = rested.map(|span| activity.since_data.map_or(span, |data| span.min(data)));
        let since = now - rested.unwrap_or_default().max(activity.since_ack);
        Self {
            since,
            known: AgeCertainty::Estimated,
            earliest: activity.since_data.map(|span| (now - span).min(since)),
        }
    }

    /// Returns the better of two: what was observed, else the earlier estimate.
    pub(super) fn or_earlier(self, before: Self) -> Self {
        match (self.known, before.known) {
            (AgeCertainty::Observed, _) => self,
            (_, AgeCertainty::Observed) => before,
            _ if before.since <= self.since => before,
            _ => self,
        }
    }
}
