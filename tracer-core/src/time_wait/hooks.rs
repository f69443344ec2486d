//! Events of minisockets that the kernel reports through function hooks and received segments, with
//! exact times.

use super::TimeWaits;
use super::entry::Entry;
use super::timing::{REPLACEMENT, TIME_WAIT};
use crate::finding::{Measured, TimeWait, TimeWaitEnd};
use crate::types::{EndpointId, Nanos};

/// A minisocket that is gone earlier than this before its timer is due has not expired: ten ticks
/// of the slowest kernel.
const EARLY: Nanos = Nanos::from_millis(100);

impl TimeWaits {
    /// Notes that the minisocket's timer was restarted, because the peer's FIN came again
    /// (tcp_timewait_state_process).
    pub fn armed(&mut self, cookie: EndpointId, at: Nanos) {
        if let Some(entry) = self.entry(cookie) {
            entry.restarts += 1;
            entry.expires_at(at + TIME_WAIT, at + TIME_WAIT);
        }
    }

    /// Notes that the minisocket is removed before its timer fires.
    pub fn descheduled(&mut self, cookie: EndpointId, at: Nanos) {
        if let Some(entry) = self.entry(cookie) {
            entry.taken_down = Some(at);
            self.taken_down.push_back((at, cookie));
        }
    }

    /// Notes that the minisocket is gone: by its timer, unless it was removed before, for a cause
    /// that the next SYN may show.
    pub fn killed(&mut self, cookie: EndpointId, at: Nanos) -> Option<TimeWait> {
        let entry = self.entry(cookie)?;
        if entry.taken_down.is_some() {
            return None;
        }
        // No timer fires early: where the compiler has inlined inet_twsk_deschedule_put() nothing
        // else shows that.
        if at + EARLY < entry.expires {
            self.descheduled(cookie, at);
            return None;
        }
        let entry = self.remove(self.find_cookie(cookie)?)?;
        Some(entry.ended(TimeWaitEnd::Expired, Measured::Hook, at, at))
    }

    /// Notes that a RST removed the minisocket (RFC 1337).
    pub fn assassinated(&mut self, cookie: EndpointId, at: Nanos) -> Option<TimeWait> {
        let entry = self.remove(self.find_cookie(cookie)?)?;
        Some(entry.ended(TimeWaitEnd::Killed, Measured::Hook, at, at))
    }

    /// Reports the minisockets that were removed and that no new connection has replaced since.
    pub fn tick(&mut self, now: Nanos, ended: &mut Vec<TimeWait>) {
        while let Some((at, cookie)) = self.taken_down.front().copied()
            && at + REPLACEMENT <= now
        {
            self.taken_down.pop_front();
            if let Some(entry) = self.find_cookie(cookie).and_then(|at| self.remove(at)) {
                ended.push(entry.ended(TimeWaitEnd::Killed, Measured::Hook, at, at));
            }
        }
    }

    /// Returns when [`Self::tick`] next has something to do.
    pub fn next_tick(&self) -> Option<Nanos> {
        self.taken_down.front().map(|(at, _)| *at + REPLACEMENT)
    }

    fn entry(&mut self, cookie: EndpointId) -> Option<&mut Entry> {
        self.entries.get_mut(self.find_cookie(cookie)?)
    }
}
