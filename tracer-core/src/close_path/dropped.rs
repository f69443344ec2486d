//! What this host dropped of the closing segments that it sent, before they left: the kernel counts
//! them as sent, and no capture has them.

use super::facts::{CloseFacts, before};
use crate::close_progress::{DroppedSegment, MAX_RESET_TO_CLOSE};
use crate::event::Evidence;
use crate::finding::{Reset, Side};
use crate::types::Nanos;

/// The kernel's name for what netfilter drops (`enum skb_drop_reason`).
const NETFILTER_DROP: &str = "NETFILTER_DROP";
/// What the names begin with of drops for want of the next hop's address. IP has taken such a
/// segment, so TCP counts it as sent (__neigh_event_send).
const NEIGHBOUR: &str = "NEIGH_";

impl DroppedSegment {
    /// Returns whether netfilter dropped it.
    pub(super) fn is_by_netfilter(&self) -> bool {
        self.reason == Some(NETFILTER_DROP)
    }

    fn is_for_want_of_neighbour(&self) -> bool {
        self.reason
            .is_some_and(|reason| reason.starts_with(NEIGHBOUR))
    }
}

impl CloseFacts<'_> {
    /// Returns the RST that ended the connection, if this host sent it and dropped it then. Both
    /// happen in the same system call or interrupt: an abort is reported after the drop
    /// (tcp_send_active_reset), an answer before it (tcp_v4_send_reset).
    pub(super) fn dropped_reset(&self, reset: Option<&Reset>) -> Option<&DroppedSegment> {
        reset.filter(|reset| reset.by == Side::Local)?;
        let sent = self.endpoint.reset_sent()?.at;
        let mut dropped = self.endpoint.dropped().iter();
        dropped.find(|dropped| {
            dropped.segment.rst
                && dropped.at <= sent + MAX_RESET_TO_CLOSE
                && sent <= dropped.at + MAX_RESET_TO_CLOSE
        })
    }

    /// Returns the tries of the local FIN that were dropped.
    pub(super) fn dropped_fins(&self) -> impl Iterator<Item = &DroppedSegment> {
        let dropped = self.endpoint.dropped().iter();
        dropped.filter(|dropped| dropped.segment.fin)
    }

    /// Returns whether each FIN that TCP counts as sent was dropped later, for want of the next
    /// hop's address. What netfilter and queues drop is not counted as sent.
    pub(super) fn all_fins_were_dropped(&self) -> bool {
        let dropped = self.dropped_fins();
        let dropped = dropped.filter(|dropped| dropped.is_for_want_of_neighbour());
        let sent = 1 + self.endpoint.fin_retransmits() as usize;
        dropped.count() >= sent && !self.fin_is_acknowledged()
    }

    /// Returns whether the peer has acknowledged the local FIN, so that it has left.
    pub(super) fn fin_is_acknowledged(&self) -> bool {
        let fin = self.fin.and_then(|change| change.evidence);
        fin.zip(self.last.evidence)
            .is_some_and(|(fin, end)| before(fin.tcp.write_seq, end.tcp.snd_una))
    }

    /// Returns whether the ACK of the peer's FIN that was sent by this time was dropped; `acked` is
    /// the number behind the FIN.
    pub(super) fn ack_was_dropped(&self, acked: u32, by: Nanos) -> bool {
        let mut dropped = self.endpoint.dropped().iter();
        dropped.any(|dropped| {
            !dropped.segment.fin
                && !dropped.segment.rst
                && dropped.segment.ack == acked
                && dropped.at <= by
        })
    }

    /// Returns how many segments were dropped between two times, all without data; `None` if that
    /// is not known.
    pub(super) fn dropped_acks(&self, from: Nanos, to: Nanos) -> Option<u32> {
        if self.endpoint.has_more_dropped() {
            return None;
        }
        let dropped = self.endpoint.dropped().iter();
        let dropped = dropped.filter(|it| it.at >= from && it.at <= to && !it.segment.fin);
        dropped
            .map(|it| (!it.segment.has_data()).then_some(1))
            .sum()
    }
}

/// Returns whether the next segment may be a probe of the peer's closed window, which has the
/// number before the first that is not acknowledged (tcp_write_wakeup).
pub(super) fn may_probe_window(evidence: &Evidence) -> bool {
    let tcp = &evidence.tcp;
    let window_end = tcp.snd_una.wrapping_add(tcp.snd_wnd);
    tcp.write_seq != tcp.snd_nxt && !before(tcp.snd_nxt, window_end)
}

/// Returns the sequence number of a segment without data that a socket sends now; `None` where the
/// peer has taken back a part of its window (tcp_acceptable_seq).
pub(super) fn next_seq(evidence: &Evidence) -> Option<u32> {
    let tcp = &evidence.tcp;
    let window_end = tcp.snd_una.wrapping_add(tcp.snd_wnd);
    (!before(window_end, tcp.snd_nxt)).then_some(tcp.snd_nxt)
}
