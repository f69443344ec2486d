//! Reconstructs the path of a close from its state changes: what a capture would have shown, and
//! how certain that is.
//!
//! The evidence of each transition is the socket's fields just before it. Each rule names the facts
//! about the kernel that it relies on; the functions named are those of net/ipv4/tcp_input.c and
//! tcp.c. A rule that lacks its evidence never guesses: its result is unknown. This file finds how
//! the connection ended and who began to close, `reset.rs` finds the sender and the cause of a
//! reset, `reconstruct.rs` the path, `steps.rs` the segments, `measure.rs` times and bytes.

mod measure;
mod outcome;
mod reconstruct;
mod reset;
mod steps;

use tcpclose_common::TcpState;

use super::errno::{self, ECONNABORTED};
use super::event::Segment;
use super::finding::{Close, ClosePath, Endpoint, Initiator, Reset, ResetReason, Side, Steps};
use super::live_endpoint::{LiveEndpoint, StateChange};
use super::types::Nanos;
pub(super) use outcome::Outcome;
pub(super) use reset::may_follow as reset_may_follow;

/// What ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// FINs and their ACKs.
    Orderly,
    /// A RST.
    Reset,
    /// No answer.
    Timeout,
    /// SOCK_DESTROY.
    Destroyed,
    /// The evidence does not show it.
    Unknown,
}

/// Returns the close of an endpoint whose last transition has been seen.
pub(super) fn reconstruct(endpoint: &LiveEndpoint, outcome: Outcome) -> Close {
    let reconstruction = Reconstruction::new(endpoint, outcome);
    let reset = reset::cause(endpoint, outcome);
    let ending = reconstruction.ending(reset.as_ref());
    let (path, mut steps) = reconstruction.path(ending);
    if let Some(reset) = &reset {
        steps.push(reconstruction.reset_step(reset));
    }
    let states = reconstruction.states();
    let at = outcome.at().unwrap_or(reconstruction.last.at);
    let lifetime = states
        .iter()
        .map(|(_, dwell)| *dwell)
        .sum_known()
        .filter(|_| !states.is_empty());
    Close {
        at,
        endpoint: Endpoint {
            id: endpoint.id,
            netns: endpoint.netns,
            tuple: endpoint.tuple,
            role: endpoint.role,
            seen_from_start: endpoint.seen_from_start,
            opened: endpoint.opened.get(),
            lifetime,
        },
        owner: endpoint.owner.clone(),
        path,
        initiator: reconstruction.initiator(reset.as_ref()),
        segments: reconstruction.segments(
            path,
            reset.as_ref().and_then(|reset| reset.reason),
            &steps,
        ),
        half_close: reconstruction.half_close(path, at),
        steps,
        states,
        bytes: reconstruction.bytes(),
        retransmits: reconstruction
            .last
            .evidence
            .map(|evidence| evidence.retransmits),
        reset,
    }
}

trait SumKnown {
    fn sum_known(self) -> Option<Nanos>;
}

impl<I: Iterator<Item = Option<Nanos>>> SumKnown for I {
    fn sum_known(mut self) -> Option<Nanos> {
        self.try_fold(Nanos(0), |sum, dwell| Some(sum + dwell?))
    }
}

/// The changes of one close, by their role.
struct Reconstruction<'a> {
    endpoint: &'a LiveEndpoint,
    outcome: Outcome,
    /// This end's FIN.
    fin: Option<&'a StateChange>,
    /// The peer's FIN came first: ESTABLISHED→CLOSE_WAIT.
    peer_fin: Option<&'a StateChange>,
    /// The ACK of this end's FIN: FIN_WAIT1→FIN_WAIT2.
    fin_acked: Option<&'a StateChange>,
    /// The FINs crossed: FIN_WAIT1→CLOSING.
    crossed: Option<&'a StateChange>,
    last: StateChange,
}

impl<'a> Reconstruction<'a> {
    fn new(endpoint: &'a LiveEndpoint, outcome: Outcome) -> Self {
        let changes = endpoint
            .closing
            .as_ref()
            .map_or(&[][..], |closing| &closing.changes);
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
        }
    }

    fn first_old(&self) -> TcpState {
        let changes = self
            .endpoint
            .closing
            .as_ref()
            .map(|closing| &closing.changes);
        changes
            .and_then(|changes| changes.first())
            .map_or(self.last.old, |change| change.old)
    }

    fn gap(&self) -> bool {
        self.endpoint
            .closing
            .as_ref()
            .is_some_and(|closing| closing.gap)
    }
    fn ending(&self, reset: Option<&Reset>) -> Ending {
        match self.outcome {
            Outcome::FinTimeout(_) => return Ending::Timeout,
            Outcome::Lost(_) => return Ending::Unknown,
            Outcome::PeerFin(_) => return Ending::Orderly,
            Outcome::ResetByUs(_) | Outcome::ResetByPeer(_) => return Ending::Reset,
            Outcome::Seen => {}
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
        match evidence.error {
            ECONNABORTED => Ending::Destroyed,
            0 if reset.is_some() => Ending::Reset,
            0 => match self.last.old {
                TcpState::LastAck | TcpState::Closing => Ending::Orderly,
                TcpState::FinWait2 if evidence.done => Ending::Orderly,
                _ => Ending::Unknown,
            },
            _ if reset.is_some_and(|reset| reset.by == Side::Peer) => Ending::Reset,
            error if errno::is_reset(error) => Ending::Reset,
            // tcp_write_err: ETIMEDOUT, or the last unreachable error that ICMP reported.
            _ => Ending::Timeout,
        }
    }

    fn initiator(&self, reset: Option<&Reset>) -> Initiator {
        let refuses = reset.is_some_and(|reset| reset.reason == Some(ResetReason::DataAfterClose));
        match self.first_old() {
            TcpState::CloseWait | TcpState::LastAck => Initiator::Peer,
            TcpState::FinWait1 | TcpState::FinWait2 => Initiator::Local,
            TcpState::Closing => Initiator::Both,
            _ if self.crossed.is_some() && self.was_overtaken() => Initiator::Peer,
            _ if self.crossed.is_some() => Initiator::Both,
            _ if self.peer_fin.is_some() => Initiator::Peer,
            // Data that crossed this end's FIN may have carried the peer's.
            _ if refuses && self.fin_acked.is_none() && self.refused().is_none() => {
                Initiator::Unknown
            }
            _ if self.fin_acked.is_none() && self.refused().is_some_and(|refused| refused.fin) => {
                if self.fin_left() {
                    Initiator::Both
                } else {
                    Initiator::Peer
                }
            }
            _ if self.fin.is_some() && self.fin_left() => Initiator::Local,
            _ => match reset {
                Some(reset) if reset.by == Side::Local => Initiator::Local,
                Some(_) => Initiator::Peer,
                None => Initiator::Unknown,
            },
        }
    }

    /// Returns the segment that arrived for the closed socket or its minisocket, and was answered
    /// with a RST.
    fn refused(&self) -> Option<Segment> {
        let sent = self.endpoint.closing.as_deref()?.reset_sent?;
        let waited = matches!(self.last.old, TcpState::FinWait1 | TcpState::FinWait2);
        sent.answers.filter(|_| waited && sent.at >= self.last.at)
    }

    /// Returns whether this end's FIN was ever sent. A window that the peer keeps closed delays the
    /// FIN.
    fn fin_left(&self) -> bool {
        let Some(fin) = self.fin else { return false };
        match (fin.evidence, self.last.evidence) {
            (Some(at_fin), Some(end)) => before(at_fin.write_seq, end.snd_nxt),
            // Nothing shows it, and it nearly always is.
            _ => true,
        }
    }

    /// Returns whether the peer's FIN came while this end's was still waiting to be sent: the FINs
    /// did not cross.
    fn was_overtaken(&self) -> bool {
        match (
            self.fin.and_then(|change| change.evidence),
            self.crossed.and_then(|change| change.evidence),
        ) {
            (Some(at_fin), Some(crossed)) => !before(at_fin.write_seq, crossed.snd_nxt),
            _ => false,
        }
    }

    fn path(&self, ending: Ending) -> (ClosePath, Steps) {
        let never_opened = self.endpoint.opened.get().is_none()
            && matches!(self.last.old, TcpState::SynSent | TcpState::SynRecv);
        if let (Some(at), None) = (self.outcome.peer_fin(), self.fin) {
            // The socket was in its minisocket already when the tracer came: FIN and ACK had gone
            // both ways.
            return (ClosePath::FourWay, self.unseen_four_way(at));
        }
        let (orderly, steps) = if self.peer_fin.is_some() || self.first_old() == TcpState::CloseWait
        {
            self.passive(ending)
        } else if self.fin.is_some() {
            self.active(ending)
        } else {
            let crossed = self.first_old() == TcpState::Closing;
            (
                if crossed {
                    ClosePath::Simultaneous
                } else {
                    ClosePath::Unknown
                },
                Steps::new(),
            )
        };
        let path = match ending {
            _ if never_opened => ClosePath::ConnectFailed,
            Ending::Orderly => orderly,
            Ending::Reset => ClosePath::Reset,
            Ending::Timeout => ClosePath::Timeout,
            Ending::Destroyed => ClosePath::Destroyed,
            Ending::Unknown => ClosePath::Unknown,
        };
        (path, steps)
    }

    /// Returns a number of this end as Wireshark prints it.
    fn local(&self, seq: u32) -> Option<u32> {
        self.endpoint.origin.iss.map(|iss| seq.wrapping_sub(iss))
    }

    /// Returns a number of the peer as Wireshark prints it.
    fn peer(&self, seq: u32) -> Option<u32> {
        self.endpoint.origin.irs.map(|irs| seq.wrapping_sub(irs))
    }
}

/// Returns whether sequence number `a` comes before `b` (RFC 9293, 3.4).
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
