//! One live connection end, and the changes that its closing leaves.

use smallvec::SmallVec;
use tcpclose_common::TcpState;

use super::event::{Evidence, Segment, Transition};
use super::snapshot::SnapshotSocket;
use super::stuck::{StuckSocket, Watched};
use super::types::{EndpointId, Nanos, NetNs, OptionalNanos, Role, SharedOwner, Tuple};

/// State changes kept for one close: the longest path has four, repeats are merged, and the rest is
/// room for a socket that is seen to do what no path does.
const MAX_CHANGES: usize = 8;

/// A RST is sent or taken in the same function that ends the connection; an interrupt may come
/// between.
const SAME_CALL: Nanos = Nanos::from_millis(5);

/// A live connection end. Only what every connection needs stands here; a close adds its
/// [`Closing`].
#[derive(Clone, Debug)]
pub(super) struct LiveEndpoint {
    /// What the findings call it.
    pub id: EndpointId,
    /// `id` is the socket's cookie, which sock_diag knows too.
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

/// Where the connection's numbers start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Origin {
    /// Initial sequence number of this end.
    pub iss: Option<u32>,
    /// Initial sequence number of the peer.
    pub irs: Option<u32>,
    /// What `bytes_acked` showed at ESTABLISHED: 1 after an active open (the SYN), else 0.
    pub acked_base: u8,
}

/// What has been seen of a close so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Closing {
    /// In one piece with the rest where there are no more than a close leaves.
    pub changes: SmallVec<[StateChange; 4]>,
    pub fin_retransmits: u32,
    /// When the kernel took a RST for the peer's.
    pub reset_received: Option<Nanos>,
    pub reset_sent: Option<ResetSent>,
    /// The FIN or RST that its minisocket took.
    pub minisocket_segment: Option<Segment>,
    /// A hook saw the kernel start a minisocket for it.
    pub armed: bool,
    /// The states seen do not join: at least one transition was missed.
    pub gap: bool,
    /// What probes have shown while it stays in a state in which it can be stuck.
    pub watched: Option<Box<Watched>>,
}

/// A RST that this host sent for the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResetSent {
    pub at: Nanos,
    pub kernel_reason: Option<&'static str>,
    /// The segment that it answers, if it does.
    pub answers: Option<Segment>,
    /// The minisocket answered.
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
    /// It was not seen: it follows from what came after, and `at` is when that was.
    pub missed: bool,
}

impl StateChange {
    /// Whether the kernel put the socket into a FIN_WAIT2 minisocket: its process had closed it
    /// (SOCK_DEAD), and the peer's FIN had not come (tcp_rcv_state_process, __tcp_close).
    pub fn is_parking(&self) -> bool {
        self.old == TcpState::FinWait2
            && self
                .evidence
                .is_some_and(|evidence| evidence.error == 0 && evidence.dead && !evidence.done)
    }

    /// Whether the kernel put the socket into TIME_WAIT by this →CLOSE: the peer's FIN had come and
    /// this end's was acknowledged (tcp_fin, tcp_rcv_state_process).
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

    /// One that a snapshot shows.
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

    /// Returns what probes have shown of it in a state in which it can be stuck.
    pub fn watched(&self) -> Option<&Watched> {
        self.closing.as_deref()?.watched.as_deref()
    }

    /// Returns the finding that it is stuck, while it is.
    pub fn reported_stuck(&self) -> Option<&StuckSocket> {
        self.watched()?.reported.as_deref()
    }

    /// Returns that finding, to be changed.
    pub fn reported_stuck_mut(&mut self) -> Option<&mut StuckSocket> {
        let watched = self.closing.as_deref_mut()?.watched.as_deref_mut()?;
        watched.reported.as_deref_mut()
    }

    /// What sock_diag knows it by, besides its addresses and ports.
    pub fn cookie(&self) -> Option<EndpointId> {
        self.has_cookie.then_some(self.id)
    }

    /// The handshake is complete: the numbers start here.
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

    /// Takes the new state, and keeps a change when the transition belongs to a close.
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
    /// It has ended, as what came at `at` shows, and its last transitions were missed; `parked` in
    /// a FIN_WAIT2 minisocket.
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
