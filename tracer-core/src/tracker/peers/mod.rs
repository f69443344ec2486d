//! Connections whose endpoints are both on this host: joins the two, and lends each what the other
//! knows.

mod by_address;
mod from_path;

use super::Tracker;
use crate::arena::Slot;
use crate::close_path::{MinisocketOutcome, acks_with_fin, is_reset_by_peer};
use crate::closes_awaiting_peer::WaitingClose;
use crate::finding::{Cause, Close, Side};
use crate::live_endpoint::LiveEndpoint;
use crate::types::{EndpointId, Nanos, SharedOwner};

impl Tracker {
    /// Joins an endpoint that was just opened with its peer, if that is on this host and was opened
    /// before. Without a cookie an endpoint's id may be another's a moment later.
    pub(super) fn join_opened(&mut self, id: EndpointId, slot: Slot, at: Nanos) {
        let opened = self.table.in_slot(slot);
        let joinable = opened.filter(|endpoint| is_joinable(endpoint));
        if let Some(numbers) = joinable.and_then(|endpoint| endpoint.initial.both())
            && let Some(peer) = self.openings.join(numbers, id, at)
            && let Some(peer_slot) = self.table.find(peer)
        {
            self.join((id, slot), (peer, peer_slot));
        }
    }

    /// Notes that two endpoints are those of one connection.
    fn join(&mut self, one: (EndpointId, Slot), other: (EndpointId, Slot)) {
        for ((_, slot), (peer, _)) in [(one, other), (other, one)] {
            if let Some(endpoint) = self.table.in_slot_mut(slot) {
                endpoint.peer = peer.into();
            }
        }
    }

    /// Returns how many endpoints were opened while so many others were that their peer, if it is
    /// on this host, was not recognized.
    #[must_use]
    pub const fn unjoined_endpoints(&self) -> u64 {
        self.openings.dropped_early()
    }

    /// Returns the peer of an endpoint if it is on this host and alive.
    fn live_peer(&self, endpoint: &LiveEndpoint) -> Option<&LiveEndpoint> {
        let peer = self.table.get(endpoint.peer.get()?)?;
        (peer.peer.get() == Some(endpoint.id)).then_some(peer)
    }

    /// Returns the peer of an endpoint if it is on this host and its close is not reported yet.
    fn unreported_peer(&mut self, endpoint: &LiveEndpoint) -> Option<&mut LiveEndpoint> {
        let id = endpoint.peer.get()?;
        let is_peer = |other: &LiveEndpoint| other.peer.get() == Some(endpoint.id);
        if let Some(slot) = self.table.find(id)
            && self.table.in_slot(slot).is_some_and(is_peer)
        {
            return self.table.in_slot_mut(slot);
        }
        let closed = self.awaiting_reset.get_mut(&id);
        let closed = closed.map(|awaiting| &mut awaiting.endpoint);
        let parked = self.parked.get_mut(id).map(|parked| &mut parked.endpoint);
        let waiting = self.awaiting_peer.get_mut(id);
        let closed = closed.into_iter().chain(parked).chain(waiting);
        closed.filter(|other| is_peer(other)).last()
    }

    /// Returns the process at the other end, where that is on this host and known.
    pub(super) fn peer_owner(&self, endpoint: &LiveEndpoint) -> Option<SharedOwner> {
        if endpoint.tuple.is_of_one_endpoint() {
            return endpoint.owner.clone();
        }
        let facts = endpoint.peer_facts().and_then(|facts| facts.owner.as_ref());
        let of_live_peer = || self.live_peer(endpoint)?.owner.as_ref();
        facts.or_else(of_live_peer).cloned()
    }

    /// Lends the process of an endpoint that has closed to its peer.
    pub(super) fn share_owner_with_peer(&mut self, endpoint: &LiveEndpoint) {
        if let Some(peer) = self.unreported_peer(endpoint) {
            let facts = &mut peer.closing.get_or_insert_default().peer_facts;
            facts.owner.clone_from(&endpoint.owner);
            facts.acks_with_fin = acks_with_fin(endpoint);
        }
    }

    /// Returns whether the peer may have acknowledged the endpoint's FIN by a segment that the
    /// socket had not counted when the peer's FIN ended the connection. Segments that one host
    /// sends to itself are queued on the processor that sends them (netif_rx), and what two
    /// processors hold may reach the socket in either order: it counts a segment when it has its
    /// lock (tcp_v4_rcv). What comes from elsewhere stays in one queue. So of a peer on this host
    /// its own end has to show that there was no such segment.
    pub(super) fn may_miss_ack_of_fin(&mut self, endpoint: &LiveEndpoint) -> bool {
        let facts = endpoint.peer_facts().and_then(|facts| facts.acks_with_fin);
        let shown = facts.or_else(|| acks_with_fin(self.unreported_peer(endpoint)?));
        let is_here = endpoint.peer.get().is_some() || endpoint.tuple.is_within_host();
        shown.map_or(is_here, |with_fin| !with_fin)
    }

    /// Lends what a close has shown to the peer. Returns the peer's own close if it has waited for
    /// that.
    pub(super) fn share_with_peer(
        &mut self,
        endpoint: &LiveEndpoint,
        close: &Close,
    ) -> Option<WaitingClose> {
        let peer = self.unreported_peer(endpoint)?;
        let is_certain = endpoint.netns == peer.netns || have_same_numbers(endpoint, peer);
        let explains = is_certain && !is_reset_by(close, Side::Peer);
        let facts = &mut peer.closing.get_or_insert_default().peer_facts;
        facts.owner.clone_from(&endpoint.owner);
        facts.acks_with_fin = acks_with_fin(endpoint);
        // A RST that reached the peer is another one.
        let reaches = |cause: &Cause| *cause != Cause::DroppedHere;
        facts.cause = close.cause.filter(|cause| explains && reaches(cause));
        let id = peer.id;
        self.awaiting_peer.remove(id)
    }

    /// Returns whether a close is to wait for that of its peer, which may show why the peer has
    /// reset the connection. Two closes do not wait for each other.
    pub(super) fn is_to_wait_for_peer(
        &mut self,
        endpoint: &LiveEndpoint,
        outcome: MinisocketOutcome,
    ) -> bool {
        let Some(peer) = endpoint.peer.get() else {
            return false;
        };
        let knows = endpoint
            .peer_facts()
            .is_some_and(|facts| facts.cause.is_some());
        !knows
            && is_reset_by_peer(endpoint, outcome)
            && self.awaiting_peer.get_mut(peer).is_none()
            && self.unreported_peer(endpoint).is_some()
    }
}

/// Adds what the peer's end, where it is on this host, has shown of a close.
pub(super) fn add_peer_cause(close: &mut Close, endpoint: &LiveEndpoint) {
    let facts = endpoint.peer_facts().and_then(|facts| facts.cause);
    close.peer_cause = facts.filter(|_| is_reset_by(close, Side::Peer));
}

/// Replaces the cause of a reset that came from neither end.
pub(super) fn set_from_path(close: &mut Close) {
    close.cause = Some(Cause::FromPath);
    close.peer_cause = None;
}

/// Returns whether an endpoint can be joined with its peer, if that is on this host.
fn is_joinable(endpoint: &LiveEndpoint) -> bool {
    endpoint.has_cookie && !endpoint.tuple.is_of_one_endpoint()
}

/// Returns whether both endpoints are known to have the same two initial sequence numbers.
fn have_same_numbers(one: &LiveEndpoint, other: &LiveEndpoint) -> bool {
    let (one, other) = (one.initial.both(), other.initial.both());
    one.is_some_and(|numbers| other == Some(numbers.mirrored()))
}

fn is_reset_by(close: &Close, side: Side) -> bool {
    close.reset.as_ref().is_some_and(|reset| reset.by == side)
}
