//! Reconstructs the path of a close from its state changes: what a capture would have shown, and
//! how certain that is.
//!
//! The evidence of each transition is the socket's fields just before it. Each rule names the facts
//! about the kernel that it relies on; the functions named are those of net/ipv4/tcp_input.c and
//! tcp.c. A rule that lacks its evidence never guesses: its result is unknown. `facts.rs`
//! finds how the connection ended and who began to close, `reset.rs` the sender and the reason of
//! a reset, `cause.rs` why the connection ended that way, `idle.rs` how long it was silent before,
//! `path.rs` the path, `steps.rs` the segments, `refused.rs` those that a closed socket refused,
//! `dropped.rs` those that did not leave, `measure.rs` times and bytes.

mod cause;
mod dropped;
mod error;
mod facts;
mod idle;
mod lost;
mod measure;
mod minisocket_outcome;
mod path;
mod refused;
mod reset;
mod steps;

use tcpclose_common::TcpState;

use super::close_progress::StateChange;
use super::event::Evidence;
use super::finding::{Close, Side};
use super::live_endpoint::LiveEndpoint;
use super::types::Nanos;
use facts::CloseFacts;

pub(super) use minisocket_outcome::MinisocketOutcome;
pub(super) use reset::may_follow as reset_may_follow;

/// Returns whether the socket never was an endpoint of its connection: two CPUs have each made a
/// child for segments of one peer, and the kernel discards the one that comes second
/// (inet_ehash_nolisten of net/ipv4/inet_hashtables.c). It has taken no segment and sends none; the
/// connection lives on in the other.
pub(super) fn is_discarded_child(endpoint: &LiveEndpoint) -> bool {
    let [StateChange { old, evidence, .. }] = endpoint.changes() else {
        return false;
    };
    let untouched = evidence.is_some_and(|Evidence { tcp, .. }| {
        // tcp_create_openreq_child counts the SYN.
        tcp.segs_in <= 1 && tcp.bytes_received == 0 && tcp.bytes_acked == 0 && tcp.error == 0
    });
    *old == TcpState::SynRecv && untouched && endpoint.reset_sent().is_none()
}

/// Returns whether a RST of the peer's ended the connection, or one that looks like it.
pub(super) fn is_reset_by_peer(endpoint: &LiveEndpoint, outcome: MinisocketOutcome) -> bool {
    reset::cause(endpoint, outcome).is_some_and(|reset| reset.by == Side::Peer)
}

/// Returns whether an endpoint has acknowledged its peer's FIN by no segment before its own FIN;
/// `None` if that is not known, or not yet.
pub(super) fn acks_with_fin(endpoint: &LiveEndpoint) -> Option<bool> {
    CloseFacts::new(endpoint, MinisocketOutcome::SeenInTransitions).acks_with_fin()
}

/// Returns the close of an endpoint whose last transition has been seen. `may_miss_ack`: whether
/// the peer may have acknowledged the local FIN by a segment that the socket has not counted.
pub(super) fn reconstruct(
    endpoint: &LiveEndpoint,
    outcome: MinisocketOutcome,
    may_miss_ack: bool,
) -> Close {
    let facts = CloseFacts {
        may_miss_ack,
        ..CloseFacts::new(endpoint, outcome)
    };
    let reset = reset::cause(endpoint, outcome);
    let ending = facts.ending(reset.as_ref());
    let (path, mut steps) = facts.path(ending);
    if let Some(reset) = &reset
        && facts.dropped_reset(Some(reset)).is_none()
    {
        steps.push(facts.reset_step(reset));
    }
    if endpoint.tuple.is_of_one_endpoint() {
        // Each segment that it sends is the one that it receives.
        steps.retain(|step| step.from == Side::Local);
    }
    let states = facts.states();
    let at = outcome.at().unwrap_or(facts.last.at);
    let lifetime = sum_if_all_known(states.iter().map(|(_, dwell)| *dwell));
    let lifetime = lifetime.filter(|_| !states.is_empty());
    Close {
        at,
        endpoint: endpoint.to_endpoint(lifetime),
        owner: endpoint.owner.clone(),
        path,
        initiator: facts.initiator(reset.as_ref()),
        cause: facts.cause(path, reset.as_ref()),
        idle: facts.idle(reset.as_ref()),
        peer_cause: None,
        connect_error: facts.connect_error(path),
        lost: facts.lost(path, reset.as_ref()),
        segments: facts.segments(path, reset.as_ref(), &steps),
        half_close: facts.half_close(path, at),
        steps,
        states,
        bytes: facts.bytes(),
        retransmits: facts
            .last
            .evidence
            .filter(|_| !endpoint.initial.restored)
            .map(|evidence| evidence.tcp.retransmits),
        reset,
    }
}

/// Returns the sum; `None` if one of the spans is not known.
fn sum_if_all_known(mut spans: impl Iterator<Item = Option<Nanos>>) -> Option<Nanos> {
    spans.try_fold(Nanos(0), |sum, span| Some(sum + span?))
}
