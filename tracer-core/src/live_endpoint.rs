//! A live endpoint.

use tcpclose_common::TcpState;

use super::close_progress::{
    CloseProgress, DroppedSegment, MAX_CHANGES, MAX_DROPPED, MAX_RESET_TO_CLOSE, ResetSent,
    StateChange,
};
use super::endpoint::{Endpoint, InitialSequenceNumbers};
use super::event::{Evidence, Segment, TcpFields, Transition};
use super::peer::PeerFacts;
use super::probe_request::ProbeRequest;
use super::snapshot::SnapshotSocket;
use super::stuck::{StuckSocket, StuckTracking};
use super::types::{
    EndpointId, Nanos, NetNs, OptionalId, OptionalNanos, OptionalSeq, Role, SharedOwner, Tuple,
};

/// A live endpoint. It has only the fields that every connection needs; a close adds its
/// [`CloseProgress`].
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
    pub initial: InitialNumbers,
    pub owner: Option<SharedOwner>,
    /// The other endpoint of the connection, where that is on this host. It is certain only where
    /// that one names this one, too: the other may have been replaced since.
    pub peer: OptionalId,
    pub closing: Option<Box<CloseProgress>>,
}

/// The initial sequence numbers and counters of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InitialNumbers {
    /// Initial sequence number of this host.
    pub iss: OptionalSeq,
    /// Initial sequence number of the peer.
    pub irs: OptionalSeq,
    /// The value of `bytes_acked` at ESTABLISHED: 1 after an active open (the SYN), else 0.
    pub syn_in_bytes_acked: u8,
    /// Whether the connection was restored with `TCP_REPAIR`: its counters began there, and nothing
    /// shows how it had begun.
    pub restored: bool,
}

impl InitialNumbers {
    /// Returns the numbers of a connection that becomes established. With Fast Open data has moved
    /// already; an active open counts its SYN among the acknowledged bytes.
    fn at_established(role: Role, evidence: &Evidence) -> Self {
        let TcpFields {
            snd_una,
            bytes_acked,
            ..
        } = evidence.tcp;
        let is_client = role == Role::Client;
        let sent = (bytes_acked as u32).wrapping_add(u32::from(!is_client));
        // A simultaneous open whose beginning was missed looks like a passive one, apart from this.
        let may_be_the_syn = !is_client && bytes_acked == 1;
        Self {
            iss: (!may_be_the_syn).then(|| snd_una.wrapping_sub(sent)).into(),
            irs: Some(first_received(evidence)).into(),
            syn_in_bytes_acked: u8::from(is_client),
            restored: false,
        }
    }

    /// Returns both initial sequence numbers, if they are known.
    pub fn both(self) -> Option<InitialSequenceNumbers> {
        let (iss, irs) = (self.iss.get()?, self.irs.get()?);
        Some(InitialSequenceNumbers { iss, irs })
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
            initial: InitialNumbers::default(),
            owner: None,
            peer: OptionalId::default(),
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
            initial: InitialNumbers::default(),
            owner: socket.owner.clone(),
            peer: OptionalId::default(),
            closing: None,
        }
    }

    /// Returns whether it is established, or closing since.
    pub const fn is_synchronized(&self) -> bool {
        use TcpState::{CloseWait, Closing, Established, FinWait1, FinWait2, LastAck};
        matches!(
            self.state,
            Established | FinWait1 | FinWait2 | CloseWait | Closing | LastAck
        )
    }

    /// Returns whether the exit of the process closed the socket.
    pub fn is_closed_by_exit(&self) -> bool {
        let closing = self.closing.as_ref();
        closing.is_some_and(|closing| closing.closed_by_exit)
    }

    /// Returns the state changes of the close so far.
    pub fn changes(&self) -> &[StateChange] {
        let closing = self.closing.as_deref();
        closing.map_or(&[], |closing| &closing.changes)
    }

    /// Returns the last state change of the close.
    pub fn last_change(&self) -> Option<&StateChange> {
        self.changes().last()
    }

    /// Returns whether at least one transition of the close was missed.
    pub fn has_gap(&self) -> bool {
        let closing = self.closing.as_deref();
        closing.is_some_and(|closing| closing.gap)
    }

    /// Returns how often a segment with this endpoint's FIN was sent again.
    pub fn fin_retransmits(&self) -> u32 {
        let closing = self.closing.as_deref();
        closing.map_or(0, |closing| closing.fin_retransmits)
    }

    /// Returns the RST that this host sent for the connection.
    pub fn reset_sent(&self) -> Option<ResetSent> {
        self.closing.as_deref()?.reset_sent
    }

    /// Returns when the kernel accepted a RST as the peer's.
    pub fn reset_received(&self) -> Option<Nanos> {
        self.closing.as_deref()?.reset_received
    }

    /// Returns the FIN or RST that the minisocket received.
    pub fn minisocket_segment(&self) -> Option<Segment> {
        self.closing.as_deref()?.minisocket_segment
    }

    /// Returns the segments that this host dropped before they left.
    pub fn dropped(&self) -> &[DroppedSegment] {
        let closing = self.closing.as_deref();
        closing.map_or(&[], |closing| &closing.dropped)
    }

    /// Returns whether it dropped more than [`Self::dropped`].
    pub fn has_more_dropped(&self) -> bool {
        let closing = self.closing.as_deref();
        closing.is_some_and(|closing| closing.more_dropped)
    }

    /// Notes that this host dropped a segment of the endpoint before it left.
    pub fn note_dropped(&mut self, dropped: DroppedSegment) {
        let closing = self.closing.get_or_insert_default();
        if closing.dropped.len() < MAX_DROPPED {
            closing.dropped.push(dropped);
        } else {
            closing.more_dropped = true;
        }
    }

    /// Returns what the other endpoint has lent, where it was on this host and has closed.
    pub fn peer_facts(&self) -> Option<&PeerFacts> {
        Some(&self.closing.as_deref()?.peer_facts)
    }

    /// Returns whether a hook saw the kernel start a minisocket for the socket.
    pub fn has_armed_minisocket(&self) -> bool {
        let closing = self.closing.as_deref();
        closing.is_some_and(|closing| closing.armed)
    }

    /// Returns the results of probes in a state in which the socket can be stuck.
    pub fn stuck_tracking(&self) -> Option<&StuckTracking> {
        self.closing.as_deref()?.stuck_tracking.as_deref()
    }

    /// Returns the finding that the socket is stuck, while it is.
    pub fn reported_stuck(&self) -> Option<&StuckSocket> {
        self.stuck_tracking()?.reported.as_deref()
    }

    /// Returns that finding for changes.
    pub fn reported_stuck_mut(&mut self) -> Option<&mut StuckSocket> {
        let tracking = self.closing.as_deref_mut()?.stuck_tracking.as_deref_mut()?;
        tracking.reported.as_deref_mut()
    }

    /// Forgets the results of probes, and returns the finding that the socket is stuck.
    pub fn take_reported_stuck(&mut self) -> Option<Box<StuckSocket>> {
        self.closing.as_deref_mut()?.stuck_tracking.take()?.reported
    }

    /// Returns a request to probe the socket; `id` names it in the response.
    pub fn probe_request(&self, id: EndpointId) -> ProbeRequest {
        ProbeRequest {
            id,
            cookie: self.cookie(),
            netns: self.netns,
            tuple: self.tuple,
        }
    }

    /// Returns the endpoint as findings have it.
    pub fn to_endpoint(&self, lifetime: Option<Nanos>) -> Endpoint {
        Endpoint {
            id: self.id,
            netns: self.netns,
            tuple: self.tuple,
            role: self.role,
            initial: self.initial.both(),
            seen_from_start: self.seen_from_start,
            opened: self.opened.get(),
            lifetime,
            peer: self.peer.get(),
            peer_owner: None,
        }
    }

    /// Returns the cookie by which sock_diag knows the socket.
    pub fn cookie(&self) -> Option<EndpointId> {
        self.has_cookie.then_some(self.id)
    }

    /// Notes that the handshake is complete, and keeps the initial numbers.
    pub fn establish(&mut self, transition: &Transition) {
        // Where the record of connect() is missing, this one still shows TCP_REPAIR.
        let evidence = transition.evidence.as_ref();
        self.initial.restored |= evidence.is_some_and(|evidence| evidence.flags.repair);
        if self.initial.restored {
            self.since = OptionalNanos::UNKNOWN;
            return;
        }
        if transition.old == TcpState::SynSent {
            self.role = Role::Client;
        }
        self.opened = transition.at.into();
        if let Some(evidence) = evidence {
            self.initial = InitialNumbers::at_established(self.role, evidence);
        }
    }

    /// Takes over the new state, and keeps the change if the transition belongs to a close. Returns
    /// whether at least one transition before this one was missed.
    pub fn advance(&mut self, transition: &Transition) -> bool {
        let Transition { at, old, new, .. } = *transition;
        if self.tuple.local_port.is_none() {
            self.tuple = transition.tuple;
        }
        if old == new {
            return false;
        }
        // The records that a snapshot overtook still come: a state that it showed is no transition.
        let since = self.since.get();
        let missed = old != self.state && (self.seen_from_start || since.is_some());
        // Two CPUs' clocks may differ by a hair: time never runs backwards within a connection.
        let at = since.map_or(at, |since| since.max(at));
        let dwell = since.filter(|_| !missed).map(|since| at - since);
        if new != TcpState::Established && new != TcpState::SynSent && new != TcpState::SynRecv {
            if self.initial.irs.get().is_none()
                && !self.initial.restored
                && let Some(evidence) = &transition.evidence
            {
                self.initial.irs = Some(first_received(evidence)).into();
            }
            let closing = self.closing.get_or_insert_default();
            // A RST that answers a segment ends a connection only in the same moment; others answer
            // stray segments of one that lives on. One of its own accord (tcp_send_active_reset) is
            // sent by functions alone that close the socket, however long an interrupt or a busy
            // host keeps them.
            if let Some(sent) = closing.reset_sent
                && (new != TcpState::Close
                    || sent.answers.is_some() && at - sent.at > MAX_RESET_TO_CLOSE)
            {
                closing.reset_sent = None;
            }
            if closing
                .reset_received
                .is_some_and(|came| new != TcpState::Close || at - came > MAX_RESET_TO_CLOSE)
            {
                closing.reset_received = None;
            }
            closing.gap |= missed;
            // Transitions that no system call drives have no task.
            let exits = transition.task.and_then(|task| task.exits);
            closing.closed_by_exit |= exits == Some(true);
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
        missed
    }
}

impl LiveEndpoint {
    /// Notes that the endpoint has ended by `at` and that its last transitions were missed. Returns
    /// how many there must have been. `parked`: whether it is in a FIN_WAIT2 minisocket.
    pub fn record_missed_end(&mut self, at: Nanos, parked: bool) -> u64 {
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
        let passed_fin_wait2 = parked && state != TcpState::FinWait2;
        if passed_fin_wait2 {
            miss(state, TcpState::FinWait2);
            state = TcpState::FinWait2;
        }
        miss(state, TcpState::Close);
        self.state = TcpState::Close;
        self.since = at.into();
        1 + u64::from(passed_fin_wait2)
    }
}

/// The peer's initial sequence number of a connection whose start was not seen: `bytes_received`
/// counts all that came since, a FIN too (tcp_rcv_nxt_update of net/ipv4/tcp_input.c). There is no
/// such way for the local number: `bytes_acked` counts the SYN of an active open only.
const fn first_received(evidence: &Evidence) -> u32 {
    let received = evidence.tcp.bytes_received as u32;
    evidence.tcp.rcv_nxt.wrapping_sub(received).wrapping_sub(1)
}
