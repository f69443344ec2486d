//! Resets that neither end has sent: the peer's socket is on this host, and still open afterwards.

use tcpclose_common::TcpState;

use super::{Tracker, have_same_numbers};
use crate::close_path::MinisocketOutcome;
use crate::closes_awaiting_peer::WaitingClose;
use crate::live_endpoint::LiveEndpoint;
use crate::parked::MinisocketState;
use crate::types::{EndpointId, Nanos};

impl Tracker {
    /// Ends the wait of a close whose peer has not closed in time, or has its peer probed.
    pub(in crate::tracker) fn end_wait_for_peer(&mut self, waiting: WaitingClose) {
        let waiting = if !waiting.is_probed && self.may_be_from_path(&waiting) {
            self.awaiting_peer.await_probe(waiting)
        } else {
            Some(waiting)
        };
        if let Some(waiting) = waiting {
            self.report_waiting(waiting, false);
        }
    }

    /// Takes the answer to a probe of an endpoint whose peer was reset, as of `at`. A socket sends
    /// no RST from a synchronized state without leaving it for CLOSE, and sock_diag finds none that
    /// is closed: one that is found later has not sent it.
    pub(in crate::tracker) fn apply_peer_probe(
        &mut self,
        peer: EndpointId,
        state: MinisocketState,
        at: Nanos,
    ) {
        let live = self.table.get(peer);
        if let Some(id) = live.and_then(|endpoint| endpoint.peer.get())
            && let Some(waiting) = self.awaiting_peer.remove_probed(id, peer, at)
        {
            let is_open = state == MinisocketState::FullSocket;
            let from_path = is_open && !waiting.has_lost_records && self.may_be_from_path(&waiting);
            self.report_waiting(waiting, from_path);
        }
    }

    /// Returns whether the RST that ended a connection may have come from neither end: the kernel
    /// has accepted it in a state in which no RST of this host's own looks like that, and the peer
    /// is open. Both endpoints were seen from the start, and are certain to be those of one
    /// connection.
    fn may_be_from_path(&self, waiting: &WaitingClose) -> bool {
        let endpoint = &waiting.endpoint;
        let Some((peer, last)) = self.live_peer(endpoint).zip(endpoint.last_change()) else {
            return false;
        };
        waiting.outcome == MinisocketOutcome::SeenInTransitions
            && endpoint.reset_received().is_some()
            && matches!(last.old, TcpState::Established | TcpState::CloseWait)
            && is_open(peer)
            && peer.reset_sent().is_none()
            && have_same_numbers(endpoint, peer)
            && [endpoint, peer]
                .iter()
                .all(|end| end.seen_from_start && !end.has_gap())
    }
}

/// Returns whether an endpoint's process can still use the connection. In FIN_WAIT1 that is not
/// known; in FIN_WAIT2 a socket that its process has closed is a minisocket.
const fn is_open(endpoint: &LiveEndpoint) -> bool {
    use TcpState::{CloseWait, Established, FinWait2};
    matches!(endpoint.state, Established | CloseWait | FinWait2)
}
