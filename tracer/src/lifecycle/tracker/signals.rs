//! What happens to sockets beside their transitions.

use super::Tracker;
use crate::lifecycle::close_path::Fate;
use crate::lifecycle::connection::ResetSent;
use crate::lifecycle::event::{Signal, SignalKind};

impl Tracker {
    pub(super) fn signal(&mut self, signal: &Signal) {
        if self.minisocket(signal) {
            return;
        }
        let reset_sent = match signal.kind {
            SignalKind::ResetSent { reason } => Some(ResetSent {
                at: signal.at,
                kernel_reason: reason,
            }),
            _ => None,
        };
        if let Some(connection) = self.table.get_mut(signal.id) {
            let closing = connection.closing.get_or_insert_default();
            closing.reset_sent = reset_sent.or(closing.reset_sent);
            if signal.kind == SignalKind::ResetReceived {
                closing.reset_received = Some(signal.at);
            }
            closing.armed |= matches!(signal.kind, SignalKind::MinisocketArmed { .. });
            closing.fin_retransmits += u32::from(signal.kind == SignalKind::FinRetransmitted);
        } else if reset_sent.is_some()
            && let Some(mut connection) = self.held.remove(&signal.id)
        {
            connection.closing.get_or_insert_default().reset_sent = reset_sent;
            self.conclude(connection, signal.at);
        }
    }

    /// Takes a signal of a minisocket; false when it is of a socket that lives.
    fn minisocket(&mut self, signal: &Signal) -> bool {
        let (id, at) = (signal.id, signal.at);
        if let Some(orphan) = self.orphans.get_mut(id) {
            let fate = match signal.kind {
                // The peer sent data to it.
                SignalKind::ResetSent { reason } => {
                    let sent = ResetSent {
                        at,
                        kernel_reason: reason,
                    };
                    let closing = orphan.connection.closing.get_or_insert_default();
                    closing.reset_sent = Some(sent);
                    Fate::ResetByUs(at)
                }
                SignalKind::MinisocketArmed { time_wait: true } => Fate::PeerFin(at),
                SignalKind::MinisocketDescheduled => Fate::Lost(at),
                SignalKind::MinisocketKilled => Fate::FinTimeout(at),
                _ => return true,
            };
            if let Some(orphan) = self.orphans.remove(id) {
                self.emit(&orphan.connection, fate);
            }
            return true;
        }
        match signal.kind {
            SignalKind::MinisocketArmed { .. } if self.table.get(id).is_none() => {
                self.time_waits.armed(id, at);
            }
            SignalKind::MinisocketDescheduled => self.time_waits.descheduled(id, at),
            SignalKind::MinisocketKilled => {
                let told = self.time_waits.killed(id, at);
                self.tell(told);
            }
            _ => return false,
        }
        true
    }
}
