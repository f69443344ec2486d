//! One live connection end, and the changes that its closing leaves.

use smallvec::SmallVec;
use tcpclose_common::TcpState;

use super::event::{Evidence, Segment, Transition};
use super::snapshot::SnapshotSocket;
use super::stuck::{StuckSocket, Watched};
use super::types::{EndpointId, Nanos, NetNs, OptionalNanos, Role, SharedOwner, Tuple};

/// The most state changes that are kept for one close. The longest path has four and repeats are
/// merged; the rest is room for unexpected ones.
const MAX_CHANGES: usize = 8;

/// The longest time between a RST and the end of the connection in the same kernel function, which
/// an interrupt may delay.
const SAME_CALL: Nanos = Nanos::from_millis(5);

/// A live endpoint. It has only the fields that every connection needs; a close adds its
/// [`Closing`].
#[derive(Clone, Debug)]
pub(super) struct LiveEndpoint {
    /// The id in findings.
    pub id: EndpointId,
    /// Whether `id` is the socket's cookie, which sock_diag knows, too.
    pub has_cookie: bool,
    pub netns: Option<NetNs>,
    pub tuple: Tuple,
    pub role: Role,
    pub seen_from_start: bool,
    pub state: TcpState,
    /// When `state` was entered.
    pub since: OptionalNanos,
    pub opened: OptionalNanos,
    pub origin: Origin,
    pub owner: Option<SharedOwner>,
    pub closing: Option<Box<Closing>>,
}

/// The initial sequence numbers and counters of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Origin {
    /// Initial sequence number of this end.
    pub iss: Option<u32>,
    /// Initial sequence number of the peer.
    pub irs: Option<u32>,
    /// The value of `bytes_acked` at ESTABLISHED: 1 after an active open (the SYN), else 0.
    pub acked_base: u8,
}

/// The events of a close so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Closing {
    /// Stored inline up to the number of changes that a usual close has.
    pub changes: SmallVec<[StateChange; 4]>,
    pub fin_retransmits: u32,
    /// When the kernel accepted a RST as the peer's.
    pub reset_received: Option<Nanos>,
    pub reset_sent: Option<ResetSent>,
    /// The FIN or RST that the minisocket received.
    pub minisocket_segment: Option<Segment>,
    /// Whether a hook saw the kernel start a minisocket for the socket.
    pub armed: bool,
    /// Whether the states that were seen do not join, so that at least one transition was missed.
    pub gap: bool,
    /// The results of probes while the socket is in a state in which it can be stuck.
    pub watched: Option<Box<Watched>>,
}

/// A RST that this host sent for the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResetSent {
    pub at: Nanos,
    pub kernel_reason: Option<&'static str>,
    /// The segment that the RST answers, if any.
    pub answers: Option<Segment>,
    /// Whether the minisocket sent the RST.
    pub minisocket: bool,
}

/// A state change of a close, with the time spent in the state that was left.
#[derive(Clone, Copy, Debug)]
pub(super) struct StateChange {
    pub at: Nanos,
    pub old: TcpState,
    pub new: TcpState,
    pub dwell: Option<Nanos>,
    pub evidence: Option<Evidence>,
    /// Whether the change was not seen and follows from a later event, whose time is `at`.
    pub missed: bool,
}

impl StateChange {
    /// Returns whether the kernel put the socket into a FIN_WAIT2 minisocket: its process had
    /// closed it (SOCK_DEAD), and the peer's FIN had not come (tcp_rcv_state_process, __tcp_close).
    pub fn is_parking(&self) -> bool {
        self.old == TcpState::FinWait2
            && self
                .evidence
                .is_some_and(|evidence| evidence.error == 0 && evidence.dead && !evidence.done)
    }

    /// Returns whether the kernel put the socket into TIME_WAIT by this →CLOSE: the peer's FIN had
    /// come, and this end's was acknowledged (tcp_fin, tcp_rcv_state_process).
    pub fn is_time_wait(&self) -> bool {
        self.new == TcpState::Close
            && self.evidence.is_some_and(|evidence| {
                evidence.error == 0
                    && evidence.done
                    && match self.old {
                        TcpState::FinWait2 => true,
                        TcpState::Closing => evidence.snd_una == evidence.write_seq,
                        _ => false,
                    }
            })
    }
}

impl LiveEndpoint {
    pub fn new(id: EndpointId, transition: &Transition) -> Self {
        Self {
            id,
            has_cookie: transition.id.is_cookie(),
            netns: transition.netns,
            tuple: transition.tuple,
            role: Role::Unknown,
            seen_from_start: false,
            state: transition.old,
            since: OptionalNanos::UNKNOWN,
            opened: OptionalNanos::UNKNOWN,
            origin: Origin::default(),
            owner: None,
            closing: None,
        }
    }

    /// Returns the endpoint of a socket in a snapshot.
    pub fn from_snapshot(socket: &SnapshotSocket) -> Self {
        Self {
            id: socket.cookie,
            has_cookie: true,
            netns: Some(socket.netns),
            tuple: socket.tuple,
            role: Role::Unknown,
            seen_from_start: false,
            state: socket.state,
            since: OptionalNanos::UNKNOWN,
            opened: OptionalNanos::UNKNOWN,
            origin: Origin::default(),
            owner: socket.owner.clone(),
            closing: None,
        }
    }

    /// Returns the results of probes in a state in which the socket can be stuck.
    pub fn watched(&self) -> Option<&Watched> {
        self.closing.as_deref()?.watched.as_deref()
    }

    /// Returns the finding that the socket is stuck, while it is.
    pub fn reported_stuck(&self) -> Option<&StuckSocket> {
        self.watched()?.reported.as_deref()
    }

    /// Returns that finding for changes.
    pub fn reported_stuck_mut(&mut self) -> Option<&mut StuckSocket> {
        let watched = self.closing.as_deref_mut()?.watched.as_deref_mut()?;
        watched.reported.as_deref_mut()
    }

    /// Returns the cookie by which sock_diag knows the socket.
    pub fn cookie(&self) -> Option<EndpointId> {
        self.has_cookie.then_some(self.id)
    }

    /// Notes that the handshake is complete, and keeps the initial numbers.
    pub fn establish(&mut self, transition: &Transition) {
        self.opened = transition.at.into();
        if let Some(evidence) = &transition.evidence {
            // With Fast Open data has moved already. An active open counts its SYN among the
            // acknowledged bytes.
            let syn = u32::from(self.role != Role::Client);
            let sent = (evidence.bytes_acked as u32).wrapping_add(syn);
            self.origin = Origin {
                iss: Some(evidence.snd_una.wrapping_sub(sent)),
                irs: first_received(evidence),
                acked_base: u8::from(self.role == Role::Client),
            };
        }
    }

    /// Takes over the new state, and keeps the change if the transition belongs to a close.
    pub fn advance(&mut self, transition: &Transition) {
        let Transition { at, old, new, .. } = *transition;
        if self.tuple.local_port.is_none() {
            self.tuple = transition.tuple;
        }
        if old == new {
            return;
        }
        // The records that a snapshot overtook still come: a state that it showed is no transition.
        let since = self.since.get();
        let missed = old != self.state && (self.seen_from_start || since.is_some());
        // Two CPUs' clocks may differ by a hair: time never runs backwards within a connection.
        let at = since.map_or(at, |since| since.max(at));
        let dwell = since.filter(|_| !missed).map(|since| at - since);
        if new != TcpState::Established && new != TcpState::SynSent && new != TcpState::SynRecv {
            if self.origin.irs.is_none() {
                self.origin.irs = transition.evidence.as_ref().and_then(first_received);
            }
            let closing = self.closing.get_or_insert_default();
            // Only a RST of the same moment ends a connection; others answer stray segments of one
            // that lives on.
            if let Some(sent) = closing.reset_sent
                && (new != TcpState::Close || at - sent.at > SAME_CALL)
            {
                closing.reset_sent = None;
            }
            if closing
                .reset_received
                .is_some_and(|came| new != TcpState::Close || at - came > SAME_CALL)
            {
                closing.reset_received = None;
            }
            closing.gap |= missed;
            if closing.changes.len() < MAX_CHANGES {
                closing.changes.push(StateChange {
                    at,
                    old,
                    new,
                    dwell,
                    evidence: transition.evidence,
                    missed: false,
                });
            } else {
                closing.gap = true;
            }
        }
        self.state = new;
        self.since = at.into();
    }
}

impl LiveEndpoint {
    /// Notes that the endpoint has ended by `at` and that its last transitions were missed.
    /// `parked`: whether it is in a FIN_WAIT2 minisocket.
    pub fn miss_end(&mut self, at: Nanos, parked: bool) {
        let closing = self.closing.get_or_insert_default();
        closing.gap = true;
        let mut miss = |old, new| {
            closing.changes.push(StateChange {
                at,
                old,
                new,
                dwell: None,
                evidence: None,
                missed: true,
            });
        };
        let mut state = self.state;
        if parked && state == TcpState::FinWait1 {
            miss(state, TcpState::FinWait2);
            state = TcpState::FinWait2;
        }
        miss(state, TcpState::Close);
        self.state = TcpState::Close;
        self.since = at.into();
    }
}

/// The peer's initial sequence number of a connection whose start was not seen: `bytes_received`
/// counts all that came since, a FIN too (tcp_rcv_nxt_update of net/ipv4/tcp_input.c). There is no
/// such way for this end's own number: `bytes_acked` counts the SYN of an active open only.
fn first_received(evidence: &Evidence) -> Option<u32> {
    Some(
        evidence
            .rcv_nxt
            .wrapping_sub(evidence.bytes_received as u32)
            .wrapping_sub(1),
    )
}
