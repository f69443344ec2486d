//! Events of minisockets that the kernel reports through function hooks and received segments, with
//! exact times.

use super::TimeWaits;
use super::entry::TimeWaitEntry;
use super::timing::{REPLACEMENT_TIMEOUT, TIME_WAIT};
use crate::finding::{EndSource, TimeWait, TimeWaitEnd};
use crate::types::{EndpointId, Nanos};

/// A minisocket that is gone earlier than this before its timer is due has not expired: ten ticks
/// of the slowest kernel.
const MAX_EXPIRY_EARLINESS: Nanos = Nanos::from_millis(100);

impl TimeWaits {
    /// Notes that the minisocket's timer was restarted, because the peer's FIN came again
    /// (tcp_timewait_state_process).
    pub fn armed(&mut self, cookie: EndpointId, at: Nanos) {
        if let Some(entry) = self.entry(cookie) {
            entry.restarts += 1;
            entry.set_expiry(at + TIME_WAIT, at + TIME_WAIT);
        }
    }

    /// Notes that the minisocket is removed before its timer fires.
    pub fn descheduled(&mut self, cookie: EndpointId, at: Nanos) {
        if let Some(entry) = self.entry(cookie) {
            entry.descheduled_at = Some(at);
            self.descheduled.push_back((at, cookie));
        }
    }

    /// Notes that the minisocket is gone: by its timer, unless it was removed before, for a cause
    /// that the next SYN may show.
    pub fn killed(&mut self, cookie: EndpointId, at: Nanos) -> Option<TimeWait> {
        let entry = self.entry(cookie)?;
        if entry.descheduled_at.is_some() {
            return None;
        }
        // No timer fires early: where the compiler has inlined inet_twsk_deschedule_put() nothing
        // else shows that.
        if at + MAX_EXPIRY_EARLINESS < entry.expires {
            self.descheduled(cookie, at);
            return None;
        }
        let entry = self.remove(self.find_cookie(cookie)?)?;
        Some(entry.ended(TimeWaitEnd::Expired, EndSource::Hook, at, at))
    }

    /// Notes that a RST removed the minisocket (RFC 1337).
    pub fn assassinated(&mut self, cookie: EndpointId, at: Nanos) -> Option<TimeWait> {
        let entry = self.remove(self.find_cookie(cookie)?)?;
        Some(entry.ended(TimeWaitEnd::Killed, EndSource::Hook, at, at))
    }

    /// Reports the minisockets that were removed and that no new connection has replaced since.
    pub fn tick(&mut self, now: Nanos, ended: &mut Vec<TimeWait>) {
        while let Some((at, cookie)) = self.descheduled.front().copied()
            && at + REPLACEMENT_TIMEOUT <= now
        {
            self.descheduled.pop_front();
            if let Some(entry) = self.find_cookie(cookie).and_then(|slot| self.remove(slot)) {
                ended.push(entry.ended(TimeWaitEnd::Killed, EndSource::Hook, at, at));
            }
        }
    }

    /// Returns when [`Self::tick`] next has something to do.
    pub fn next_tick(&self) -> Option<Nanos> {
        self.descheduled
            .front()
            .map(|(at, _)| *at + REPLACEMENT_TIMEOUT)
    }

    fn entry(&mut self, cookie: EndpointId) -> Option<&mut TimeWaitEntry> {
        self.entries.get_mut(self.find_cookie(cookie)?)
    }
}
