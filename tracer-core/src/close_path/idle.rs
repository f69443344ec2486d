//! Finds how long a connection had been silent when its close began.

use tcpclose_common::TcpState;

use super::facts::CloseFacts;
use crate::close_progress::StateChange;
use crate::event::Evidence;
use crate::finding::Reset;
use crate::kernel_timing::MAX_TICK;
use crate::types::Nanos;

/// The kernel counts ticks in 32 bits, and has at most 1000 a second.
const MIN_COUNTER_WRAP: Nanos = Nanos::from_millis(1 << 32);

impl CloseFacts<'_> {
    /// Returns for how long no data had moved, in either direction, when the first FIN or RST was
    /// sent or received. Data that is known to have passed the peer's FIN on its way does not
    /// count.
    pub(super) fn idle(&self, reset: Option<&Reset>) -> Option<Nanos> {
        let first = self.endpoint.changes().first()?;
        let evidence = first.evidence?;
        let began_here = match first.new {
            // Data that waits leaves before the FIN.
            TcpState::FinWait1 => self.fin_time_is_known(),
            TcpState::CloseWait => true,
            // Where no RST shows, the kernel gave up and sent nothing.
            TcpState::Close => reset.is_some(),
            _ => false,
        };
        // TCP_REPAIR sets the times to that of the restoration.
        let is_measured = first.old == TcpState::Established && !self.endpoint.initial.restored;
        if !began_here || !is_measured || self.peer_may_have_begun() || self.may_have_wrapped(first)
        {
            return None;
        }
        let received = evidence.since_received()?;
        if passed_by_the_fin(first, &evidence) {
            return Some(received);
        }
        // A FIN that waited behind a hole arrived before the data that filled the hole.
        let fills_a_hole = first.new == TcpState::CloseWait
            && evidence.tcp.out_of_order != 0
            && received <= MAX_TICK;
        // Sending again moves the time, too: a tail loss probe (tcp_send_loss_probe) or a
        // retransmission, as long as something is not acknowledged.
        let in_flight = evidence.tcp.snd_una != evidence.tcp.snd_nxt;
        let may_be_sent_again = in_flight && evidence.tcp.retransmits != 0;
        if fills_a_hole || may_be_sent_again {
            return None;
        }
        Some(received.min(evidence.since_sent()?))
    }

    /// Returns whether the kernel's counter may have wrapped since data moved: the silence would
    /// seem short. No connection is older than the host's uptime, which is the time of its clock.
    fn may_have_wrapped(&self, first: &StateChange) -> bool {
        let opened = self.endpoint.opened.get().unwrap_or(Nanos(0));
        first.at - opened >= MIN_COUNTER_WRAP
    }
}

/// Returns whether data of this host was on its way when the peer's FIN arrived, and none of it had
/// reached the peer before that sent the FIN.
pub(super) fn passed_by_the_fin(change: &StateChange, evidence: &Evidence) -> bool {
    let in_flight = evidence.tcp.snd_una != evidence.tcp.snd_nxt;
    change.new == TcpState::CloseWait && in_flight && evidence.flags.peer_saw_silence
}
