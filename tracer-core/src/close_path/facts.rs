//! What is known of one close: its changes by their role, how it ended, and who began it.

use tcpclose_common::TcpState;

use super::error::{FinalError, final_error};
use super::minisocket_outcome::MinisocketOutcome;
use super::reset::follows_close;
use crate::close_progress::StateChange;
use crate::event::{Segment, TcpFields};
use crate::finding::{Initiator, Reset, ResetReason, Side};
use crate::live_endpoint::LiveEndpoint;
use crate::types::Nanos;

/// What ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// FINs and their ACKs.
    Orderly,
    /// A RST was sent or received.
    Reset,
    /// The kernel gave up, as no answer came.
    Timeout,
    /// An administrator ended it (`SOCK_DESTROY`).
    Destroyed,
    /// The evidence does not show it.
    Unknown,
}

/// The changes of one close, by their role.
pub(super) struct CloseFacts<'a> {
    pub(super) endpoint: &'a LiveEndpoint,
    pub(super) outcome: MinisocketOutcome,
    /// The local FIN.
    pub(super) fin: Option<&'a StateChange>,
    /// The peer's FIN came first: ESTABLISHED→CLOSE_WAIT.
    pub(super) peer_fin: Option<&'a StateChange>,
    /// The ACK of the local FIN: FIN_WAIT1→FIN_WAIT2.
    pub(super) fin_acked: Option<&'a StateChange>,
    /// The FINs crossed: FIN_WAIT1→CLOSING.
    pub(super) crossed: Option<&'a StateChange>,
    pub(super) last: StateChange,
    /// Whether the peer may have acknowledged the local FIN by a segment that the socket has not
    /// counted.
    pub(super) may_miss_ack: bool,
}

impl<'a> CloseFacts<'a> {
    pub(super) fn new(endpoint: &'a LiveEndpoint, outcome: MinisocketOutcome) -> Self {
        let changes = endpoint.changes();
        let to = |state: TcpState| changes.iter().find(move |change| change.new == state);
        let nothing = StateChange {
            at: endpoint.since.get().unwrap_or_default(),
            old: endpoint.state,
            new: TcpState::Close,
            dwell: None,
            evidence: None,
            missed: true,
        };
        Self {
            endpoint,
            outcome,
            fin: to(TcpState::FinWait1).or_else(|| to(TcpState::LastAck)),
            peer_fin: to(TcpState::CloseWait),
            fin_acked: to(TcpState::FinWait2),
            crossed: to(TcpState::Closing),
            last: changes.last().copied().unwrap_or(nothing),
            may_miss_ack: false,
        }
    }

    pub(super) fn first_old(&self) -> TcpState {
        let first = self.endpoint.changes().first();
        first.map_or(self.last.old, |change| change.old)
    }

    pub(super) fn ending(&self, reset: Option<&Reset>) -> Ending {
        match self.outcome {
            MinisocketOutcome::FinTimeout(_) => return Ending::Timeout,
            MinisocketOutcome::Unseen(_) => return Ending::Unknown,
            MinisocketOutcome::PeerFin(_) => return Ending::Orderly,
            MinisocketOutcome::ResetByLocal(_) | MinisocketOutcome::ResetByPeer(_) => {
                return Ending::Reset;
            }
            MinisocketOutcome::SeenInTransitions => {}
        }
        let Some(evidence) = &self.last.evidence else {
            // Without evidence only the crossing of the FINs is certain; a RST looks like any other
            // end.
            return if self.last.old == TcpState::Closing {
                Ending::Orderly
            } else {
                Ending::Unknown
            };
        };
        match final_error(self.endpoint).unwrap_or(FinalError::NoError) {
            FinalError::Destroyed => Ending::Destroyed,
            FinalError::Reset => Ending::Reset,
            FinalError::NoError if reset.is_some() => Ending::Reset,
            FinalError::NoError => match self.last.old {
                // An abort here sends no RST if all has been sent (tcp_disconnect).
                TcpState::LastAck | TcpState::Closing if evidence.all_is_acknowledged() => {
                    Ending::Orderly
                }
                TcpState::FinWait2 if evidence.flags.done => Ending::Orderly,
                _ => Ending::Unknown,
            },
            FinalError::GaveUp => Ending::Timeout,
            FinalError::GaveUpOrNoError if follows_close(self.endpoint) => Ending::Reset,
            // Timers nearly always find the socket without an owner.
            FinalError::GaveUpOrNoError if evidence.flags.lock_owned => Ending::Unknown,
            FinalError::GaveUpOrNoError => Ending::Timeout,
        }
    }

    pub(super) fn initiator(&self, reset: Option<&Reset>) -> Initiator {
        let refuses = reset.is_some_and(|reset| reset.reason == Some(ResetReason::DataAfterClose));
        match self.first_old() {
            _ if self.peer_fin_waited_first() => self.initiator_after_waiting_fin(),
            _ if self.peer_may_have_begun() => Initiator::Unknown,
            TcpState::CloseWait | TcpState::LastAck => Initiator::Peer,
            TcpState::FinWait1 | TcpState::FinWait2 => Initiator::Local,
            TcpState::Closing => Initiator::Both,
            _ if self.crossed.is_some() && self.peer_fin_came_first() => Initiator::Peer,
            _ if self.crossed.is_some() => Initiator::Both,
            _ if self.peer_fin.is_some() => Initiator::Peer,
            // Data that crossed the local FIN may have carried the peer's.
            _ if refuses && self.fin_acked.is_none() && self.refused_segment().is_none() => {
                Initiator::Unknown
            }
            _ if self.fin_acked.is_none()
                && self.refused_segment().is_some_and(|refused| refused.fin) =>
            {
                if self.fin_was_sent() {
                    Initiator::Both
                } else {
                    Initiator::Peer
                }
            }
            _ if self.fin.is_some() && self.fin_was_sent() => Initiator::Local,
            _ => match reset {
                Some(_) if self.dropped_reset(reset).is_some() => Initiator::Unknown,
                Some(reset) if reset.by == Side::Local => Initiator::Local,
                Some(_) => Initiator::Peer,
                None => Initiator::Unknown,
            },
        }
    }

    /// Returns whether a FIN of the peer waited behind a hole when this host sent its own FIN, or
    /// when the connection was reset: it had arrived before.
    pub(super) fn peer_fin_waited_first(&self) -> bool {
        let first = self.endpoint.changes().first();
        first.is_some_and(|first| {
            first.old == TcpState::Established
                && matches!(first.new, TcpState::FinWait1 | TcpState::Close)
                && first.evidence.is_some_and(|it| it.flags.fin_out_of_order)
        })
    }

    fn initiator_after_waiting_fin(&self) -> Initiator {
        if !self.fin_was_sent() {
            Initiator::Peer
        } else if self.fin_left_at_once() {
            // It acknowledges nothing behind the hole.
            Initiator::Both
        } else {
            Initiator::Unknown
        }
    }

    /// Returns whether a FIN or RST of the peer may have arrived before this host's first, but was
    /// not processed by then: behind a hole, or in the backlog of a socket that a system call
    /// holds.
    pub(super) fn peer_may_have_begun(&self) -> bool {
        let changes = self.endpoint.changes().iter();
        let mut evidence = changes.filter_map(|change| change.evidence);
        if self.peer_fin.is_none() && evidence.any(|evidence| evidence.flags.fin_out_of_order) {
            return true;
        }
        let first_is_ours = self.first_old() == TcpState::Established && self.peer_fin.is_none();
        let settled = self.fin_acked.is_some() || self.crossed.is_some();
        first_is_ours
            && !settled
            && (self.fin_met_backlog()
                || self.refusal_met_backlog()
                || (self.fin.is_none() && self.abort_met_backlog()))
    }

    /// Returns whether segments waited in the backlog when the closed socket refused one: the
    /// peer's FIN may have been among them.
    fn refusal_met_backlog(&self) -> bool {
        let evidence = self.last.evidence;
        self.refused_segment().is_some() && evidence.is_some_and(|evidence| evidence.flags.backlog)
    }

    /// Returns whether segments waited in the backlog when this host sent its FIN.
    pub(super) fn fin_met_backlog(&self) -> bool {
        let fin = self.fin.and_then(|change| change.evidence);
        fin.is_some_and(|evidence| evidence.flags.backlog)
    }

    /// Returns whether segments waited in the backlog when this host aborted the connection. (Where
    /// →CLOSE comes from a segment, that may itself be the one in the backlog.)
    pub(super) fn abort_met_backlog(&self) -> bool {
        let evidence = self.last.evidence;
        evidence.is_some_and(|evidence| evidence.flags.backlog && evidence.flags.lock_owned)
            && (follows_close(self.endpoint)
                || final_error(self.endpoint) == Some(FinalError::NoError))
            && !self.last.is_time_wait()
            && !self.last.is_parking()
    }

    /// Returns the segment that arrived for the closed socket or its minisocket, and was answered
    /// with a RST.
    pub(super) fn refused_segment(&self) -> Option<Segment> {
        let sent = self.endpoint.reset_sent()?;
        let waited = matches!(self.last.old, TcpState::FinWait1 | TcpState::FinWait2);
        sent.answers.filter(|_| waited && sent.at >= self.last.at)
    }

    /// Returns whether the local FIN left with its transition: nothing kept it back, and IP took
    /// it. Where a firewall or a queue of this host drops it, the kernel tries again
    /// (tcp_write_xmit, tcp_probe_timer) and counts each try as a segment.
    pub(super) fn fin_left_at_once(&self) -> bool {
        let at_fin = self.fin.and_then(|fin| Some((fin, fin.evidence?)));
        let Some((fin, evidence)) = at_fin.filter(|(_, evidence)| evidence.fin_leaves_at_once())
        else {
            return false;
        };
        let mut changes = self.endpoint.changes().iter();
        let next = changes.find(|next| next.at >= fin.at && next.old == fin.new);
        let Some((next, after)) = next.and_then(|next| Some((next, next.evidence?))) else {
            return true;
        };
        let since =
            |count: fn(&TcpFields) -> u32| count(&after.tcp).wrapping_sub(count(&evidence.tcp));
        let tries = since(|tcp| tcp.segs_out).saturating_sub(since(|tcp| tcp.retransmits));
        // Each segment of the peer may have been acknowledged; the one that ends the state is not
        // yet, but for a FIN that crosses this one (tcp_fin).
        let crossed = u32::from(next.new == TcpState::Closing);
        let acks = (since(|tcp| tcp.segs_in) + crossed).saturating_sub(1);
        tries <= 1 + acks
    }

    /// Returns whether the time of the local FIN is that of its transition.
    pub(super) fn fin_time_is_known(&self) -> bool {
        let evidence = self.fin.and_then(|fin| fin.evidence);
        self.fin_left_at_once() && evidence.is_some_and(|evidence| evidence.fin_leaves_surely())
    }

    /// Returns when the local FIN left; `None` if it never did or its time is not known.
    pub(super) fn fin_left(&self) -> Option<Nanos> {
        if !self.fin_was_sent() {
            return None;
        }
        let fin = self.fin?;
        if self.fin_time_is_known() {
            return Some(fin.at);
        }
        let mut changes = self.endpoint.changes().iter();
        let is_ack = |change: &&StateChange| {
            let evidence = change.evidence;
            evidence.is_some_and(|evidence| evidence.flags.fin_sent_time)
        };
        let acked = changes.find(is_ack)?;
        let (at_fin, evidence) = (fin.evidence?, acked.evidence?);
        // What was sent again may have been sent after the FIN.
        if evidence.tcp.retransmits != at_fin.tcp.retransmits {
            return None;
        }
        Some((acked.at - evidence.since_fin_sent()?).max(fin.at))
    }

    /// Returns whether the local FIN has ever left. A window that the peer keeps closed delays the
    /// FIN.
    pub(super) fn fin_was_sent(&self) -> bool {
        let Some(fin) = self.fin else { return false };
        match (fin.evidence, self.last.evidence) {
            (Some(at_fin), Some(end)) => {
                before(at_fin.tcp.write_seq, end.tcp.snd_nxt) && !self.all_fins_were_dropped()
            }
            // Nothing shows it, and it nearly always is.
            _ => true,
        }
    }

    /// Returns whether the peer's FIN came while the local FIN was still waiting to be sent: the
    /// FINs did not cross.
    pub(super) fn peer_fin_came_first(&self) -> bool {
        match (
            self.fin.and_then(|change| change.evidence),
            self.crossed.and_then(|change| change.evidence),
        ) {
            (Some(at_fin), Some(crossed)) => !before(at_fin.tcp.write_seq, crossed.tcp.snd_nxt),
            _ => false,
        }
    }

    /// Returns a sequence number of this host as Wireshark prints it.
    pub(super) fn local(&self, seq: u32) -> Option<u32> {
        self.endpoint
            .initial
            .iss
            .get()
            .map(|iss| seq.wrapping_sub(iss))
    }

    /// Returns a sequence number of the peer as Wireshark prints it.
    pub(super) fn peer(&self, seq: u32) -> Option<u32> {
        self.endpoint
            .initial
            .irs
            .get()
            .map(|irs| seq.wrapping_sub(irs))
    }
}

/// Returns whether sequence number `a` comes before `b` (RFC 9293, 3.4).
pub(super) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
