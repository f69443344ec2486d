//! What an abnormal close destroyed.

use tcpclose_common::TcpState;

use super::facts::CloseFacts;
use crate::finding::{ClosePath, Lost, Reset, ResetReason, Side};

impl CloseFacts<'_> {
    /// Returns the data that a close with this path destroyed; `None` where none can be, as after
    /// an orderly close, or where nothing shows it.
    pub(super) fn lost(&self, path: ClosePath, reset: Option<&Reset>) -> Option<Lost> {
        let is_loss = matches!(
            path,
            ClosePath::Reset | ClosePath::Timeout | ClosePath::Destroyed
        );
        let evidence = self
            .last
            .evidence
            .filter(|_| is_loss && !self.last.missed)?;
        let waiting = evidence.tcp.write_seq.wrapping_sub(evidence.tcp.snd_una);
        // The FIN has a number of its own.
        let has_fin = matches!(
            self.last.old,
            TcpState::FinWait1 | TcpState::Closing | TcpState::LastAck
        );
        let unacknowledged = waiting.saturating_sub(u32::from(has_fin));
        // What the peer's RST, a timer or an administrator ends leaves the data to be read
        // (tcp_recvmsg_locked looks at the queue before sk_err). close() empties the queue.
        let by_close = reset.is_some_and(|reset| {
            let by_timer_or_admin = matches!(
                reset.reason,
                Some(ResetReason::Keepalive | ResetReason::Destroyed | ResetReason::Timeout)
            );
            reset.by == Side::Local && !by_timer_or_admin
        });
        let is_unread = by_close && evidence.flags.unread;
        Some(Lost {
            unacknowledged,
            unread: (!is_unread).then_some(0),
        })
    }
}
