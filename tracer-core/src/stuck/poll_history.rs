//! The rule by which a socket is stuck.

use serde::{Deserialize, Serialize};
use tcpclose_common::TcpState;

use super::age::Age;
use super::observed::{Activity, ObservedSocket, UnansweredKind};
use super::rule::StuckRule;
use super::verdict::Verdict;
use crate::types::Nanos;

/// What the polls of one socket have shown: since when it is in its state, and when bytes last
/// moved.
///
/// A socket is stuck ([`Self::is_stuck`]) when it has been in its state for at least a given time
/// ([`Self::has_age`]) and what would end the state is missing ([`Self::verdict`]): the application
/// never accepted the socket, or no bytes have moved for that time ([`Self::has_moved_within`]). A
/// time that has passed exactly has passed, for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollHistory {
    /// The state that the polls have shown.
    pub state: TcpState,
    /// Since when it is in its state.
    pub age: Age,
    /// When bytes last moved, or the latest that it can have been; `None` where none are known to
    /// have moved.
    moved: Option<Nanos>,
    /// Bytes that the peer has acknowledged.
    acked: u64,
    /// These, and the bytes that it has still to acknowledge.
    written: u64,
}

impl PollHistory {
    /// Returns the history after a poll at `at`. What polls have shown of another state is
    /// forgotten. `acked_at_entry`: the bytes that the peer had acknowledged when the socket
    /// entered its state, where the tracer has seen that; it matters for the first poll only.
    #[must_use]
    pub fn new(
        socket: &ObservedSocket,
        at: Nanos,
        before: Option<&Self>,
        acked_at_entry: Option<u64>,
    ) -> Self {
        let before = before.filter(|before| before.state == socket.state);
        let activity = socket.activity.unwrap_or_default();
        let acked = activity.bytes_acked;
        let written = acked + u64::from(socket.unsent);
        let has_acked = match before {
            Some(before) => before.acked != acked,
            None => acked_at_entry.is_some_and(|earlier| earlier < acked),
        };
        let has_written = before.is_some_and(|before| before.written != written);
        // The ACK that the peer sent for these bytes is the last that came, or an earlier one.
        let acked_at = has_acked.then(|| at - activity.since_ack);
        // What the application has written since the last poll may not have been sent: the kernel
        // does not say when that was.
        let may_wait = socket.unsent > 0 || socket.activity.is_none();
        let written_at = (has_written && may_wait).then_some(at);
        let moved = match StuckRule::for_state(socket.state) {
            // After shutdown() only the peer sends.
            Some(StuckRule::PeerFin) => activity.since_data.map(|span| at - span),
            // Nothing is written any more, and what is sent again does not move.
            Some(StuckRule::Acknowledgement) => acked_at,
            // The age is that of the last sign of the peer.
            Some(StuckRule::Silence) => None,
            Some(StuckRule::Close) | None => acked_at.max(written_at).max(socket.last_sent_at(at)),
        };
        let earlier = before.and_then(|before| before.moved);
        let age = Age::from_observation(socket, at);
        let is_silence = socket.state == TcpState::Established;
        Self {
            state: socket.state,
            age: match before.filter(|_| !is_silence) {
                Some(before) => age.or_earlier(before.age),
                None => age,
            },
            moved: earlier.max(moved),
            acked,
            written,
        }
    }

    /// Returns whether the socket, as the last poll has shown it, is stuck.
    #[must_use]
    pub fn is_stuck(&self, socket: &ObservedSocket, at: Nanos, min_age: Nanos) -> bool {
        self.has_age(at, min_age) && self.verdict(socket, at, min_age).is_stuck()
    }

    /// Returns whether the socket has been in its state for at least `min_age`.
    #[must_use]
    pub fn has_age(&self, at: Nanos, min_age: Nanos) -> bool {
        at - self.age.since >= min_age
    }

    /// Returns whether bytes moved within the last `min_age`.
    #[must_use]
    pub fn has_moved_within(&self, at: Nanos, min_age: Nanos) -> bool {
        self.moved.is_some_and(|moved| at - moved < min_age)
    }

    /// Returns the earliest time at which the socket is stuck, if nothing moves until then.
    #[must_use]
    pub fn stuck_at(&self, min_age: Nanos) -> Nanos {
        self.moved
            .map_or(self.age.since, |moved| moved.max(self.age.since))
            + min_age
    }

    /// Returns what keeps the socket in its state, given what the last poll has shown of it.
    #[must_use]
    pub fn verdict(&self, socket: &ObservedSocket, at: Nanos, min_age: Nanos) -> Verdict {
        let has_moved = self.has_moved_within(at, min_age);
        match StuckRule::for_state(socket.state) {
            Some(StuckRule::PeerFin) if has_moved => Verdict::StillReceiving,
            Some(StuckRule::PeerFin) => Verdict::HalfClosed,
            Some(StuckRule::Acknowledgement) if has_moved => Verdict::StillSending,
            Some(StuckRule::Acknowledgement) if leaves_unanswered(socket, min_age) => {
                Verdict::Unanswered
            }
            Some(StuckRule::Acknowledgement) if socket.peer_window_closed_for().is_some() => {
                Verdict::PeerNotReading
            }
            Some(StuckRule::Acknowledgement) => Verdict::StillSending,
            Some(StuckRule::Silence) if socket.waits_for_accept() => Verdict::NotAccepted,
            Some(StuckRule::Silence) if leaves_unanswered(socket, min_age) => Verdict::Unanswered,
            Some(StuckRule::Silence) => Verdict::Silent,
            Some(StuckRule::Close) | None => match socket {
                _ if socket.waits_for_accept() => Verdict::NotAccepted,
                _ if has_moved => Verdict::StillSending,
                ObservedSocket {
                    queued: 0,
                    mptcp: true,
                    ..
                } => Verdict::NotClosed,
                ObservedSocket { queued: 0, .. } => Verdict::EofRead,
                _ => Verdict::EofUnread,
            },
        }
    }

    /// Returns whether a socket that looks younger may be as old: answers to keepalive probes hide
    /// its age.
    #[must_use]
    pub fn may_have_age(socket: &ObservedSocket, min_age: Nanos) -> bool {
        let is_old = |span: Option<Nanos>| span.is_none_or(|span| span >= min_age);
        let is_silent = |activity: Activity| match StuckRule::for_state(socket.state) {
            Some(StuckRule::Close) => is_old(activity.since_data),
            Some(StuckRule::PeerFin) => is_old(activity.since_data) && is_old(activity.since_sent),
            Some(StuckRule::Acknowledgement | StuckRule::Silence) | None => false,
        };
        socket.keepalive && socket.activity.is_some_and(is_silent)
    }
}

/// Returns whether the peer leaves unanswered what is sent to it: data and FINs were sent again, or
/// probes had no answer and nothing has come for `min_age`. A single probe may be on its way.
fn leaves_unanswered(socket: &ObservedSocket, min_age: Nanos) -> bool {
    let is_silent = |activity: Activity| activity.since_ack >= min_age;
    socket.unanswered.is_some_and(|unanswered| {
        unanswered.kind == UnansweredKind::Retransmissions || socket.activity.is_some_and(is_silent)
    })
}
