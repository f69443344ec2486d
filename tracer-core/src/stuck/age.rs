//! The age of a socket: the time in its present state.
//!
//! Where the tracer saw a socket enter its state, its age is exact. Otherwise it is estimated, from
//! what the state shows ([`StuckRule`]):
//!
//! CLOSE_WAIT, and CLOSING in the same way:  The peer's FIN came with
//! an ACK, so the last ACK is no older than the FIN; no data can come after the FIN, so the last
//! data is no younger. The truth lies between these two, and normally the FIN *is* the last ACK
//! that came: the age of that is the estimate. What makes the estimate too small is an ACK that
//! came later: of bytes sent in CLOSE_WAIT, or of a keepalive probe. Where the peer's window is
//! closed, it answers probes of that window for ever: there, the last bytes that were sent take the
//! ACK's place.
//!
//! FIN_WAIT2 begins with the ACK of the own FIN. So the last ACK is no older than the state, and
//! later ones (of data that came, and of keepalive probes) make the estimate too small. The last
//! data that was sent is no younger than the FIN.
//!
//! FIN_WAIT1 and LAST_ACK: for how long at least what was sent has had no answer, which the
//! retransmission timer shows: it doubles with each retransmission. Where the peer answers and its
//! window is closed, the last bytes that were sent count, as above.
//!
//! ESTABLISHED: not the age of the state counts, but the time since the peer was last heard.

use serde::{Deserialize, Serialize};
use tcpclose_common::TcpState;

use super::observed::{Activity, ObservedSocket};
use super::rule::StuckRule;
use crate::kernel_timing::MAX_TICK;
use crate::types::Nanos;

/// How an age is known.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum AgeCertainty {
    /// The tracer saw the socket enter its state.
    Observed,
    /// From the times and counters that the kernel shows.
    Estimated,
}

/// The age of a socket: when it entered its present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Age {
    /// The moment, or the latest that it can have been.
    pub since: Nanos,
    /// How the age is known.
    pub known: AgeCertainty,
    /// The earliest that it can have been: in CLOSE_WAIT the last data came then, and none comes
    /// after a FIN. `None` where nothing bounds it.
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
        let rule = StuckRule::for_state(socket.state);
        if let Some(entered) = socket.entered
            && rule != Some(StuckRule::Silence)
        {
            return Self::observed(entered);
        }
        let activity = socket.activity.unwrap_or_default();
        let Activity {
            since_data,
            since_sent,
            since_ack,
            ..
        } = activity;
        // While the peer's window is closed it answers probes; nothing moves since bytes were last
        // sent.
        let rested = socket.peer_window_closed_for();
        let rested = rested.map(|span| since_data.map_or(span, |data| span.min(data)));
        let (age, at_most) = match (rule, socket.state) {
            (Some(StuckRule::PeerFin), _) => (since_ack, since_sent),
            (Some(StuckRule::Acknowledgement), TcpState::Closing) => (since_ack, since_data),
            (Some(StuckRule::Acknowledgement), state) => {
                let unanswered = socket.unanswered.and_then(|unanswered| unanswered.at_least);
                let age = unanswered.or(rested).unwrap_or_default();
                (age, since_data.filter(|_| state == TcpState::LastAck))
            }
            (Some(StuckRule::Silence), _) => (since_ack, Some(since_ack)),
            (Some(StuckRule::Close) | None, _) => {
                (rested.unwrap_or_default().max(since_ack), since_data)
            }
        };
        let since = now - age;
        Self {
            since,
            known: AgeCertainty::Estimated,
            earliest: at_most.map(|span| (now - span).min(since)),
        }
    }

    /// Returns the silence before the peer's FIN: the time from the last data either way to the
    /// FIN, which came at this age of a socket in CLOSE_WAIT. It is as accurate as the age. `None`
    /// where no data ever came or went, and where something else may have moved one of the times:
    /// bytes that were sent since the FIN, or that are on their way, or a keepalive probe.
    pub(super) fn idle_before_fin(&self, socket: &ObservedSocket, at: Nanos) -> Option<Nanos> {
        let is_hidden = self.known == AgeCertainty::Estimated && socket.keepalive;
        if socket.state != TcpState::CloseWait || socket.mptcp || socket.unsent > 0 || is_hidden {
            return None;
        }
        let activity = socket.activity?;
        let last = [activity.since_data, activity.since_sent];
        let last = last.into_iter().flatten().min()?;
        let fin = at - self.since;
        (last + MAX_TICK >= fin).then(|| last - fin)
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
