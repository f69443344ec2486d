//! One endpoint in TIME_WAIT: its observations, and what follows from them about its end.

use super::poll::{PollNumber, PollResponse};
use super::timing::{
    EXPIRY_POLL_INTERVAL, FIRST_POLL_DELAY, HOOK_TIMEOUT, MAX_TIMER_DELAY,
    MAX_UNSEEN_BEFORE_EXPIRY, POLL_BEFORE_EXPIRY, POLL_INTERVAL, RESTART_THRESHOLD, TIME_WAIT,
};
use crate::finding::{EndSource, Endpoint, TimeWait, TimeWaitEnd};
use crate::types::{EndpointId, Nanos, Role, SharedOwner};

#[derive(Debug)]
pub(super) struct TimeWaitEntry {
    pub endpoint: Endpoint,
    pub owner: Option<SharedOwner>,
    pub cookie: Option<EndpointId>,
    pub entered: Nanos,
    pub entered_error: Nanos,
    /// The earliest time at which the timer is due.
    pub expires: Nanos,
    /// The latest time at which the timer is due: a poll takes time, and more on a busy host.
    expires_by: Nanos,
    /// When the minisocket was last known to exist.
    pub last_seen: Nanos,
    pub confirmed: bool,
    /// The last poll that does not apply to the entry any more, because the entry was added during
    /// or after it, or was already judged by it.
    pub poll_number: PollNumber,
    pub restarts: u32,
    /// Whether the kernel's hooks will report its end.
    pub hooked: bool,
    /// When a poll did not find the minisocket before its timer was due. A SYN may still explain
    /// that.
    pub missing_since: Option<Nanos>,
    /// When a hook saw the minisocket removed before its timer fired. The cause is still to be
    /// determined.
    pub descheduled_at: Option<Nanos>,
}

impl TimeWaitEntry {
    pub fn new(
        endpoint: Endpoint,
        owner: Option<SharedOwner>,
        cookie: Option<EndpointId>,
        entered: Nanos,
        entered_error: Nanos,
    ) -> Self {
        Self {
            endpoint,
            owner,
            cookie,
            entered,
            entered_error,
            expires: entered + TIME_WAIT,
            expires_by: entered + entered_error + TIME_WAIT,
            last_seen: entered,
            confirmed: false,
            poll_number: 0,
            restarts: 0,
            hooked: false,
            missing_since: None,
            descheduled_at: None,
        }
    }

    /// Notes that a poll has found the minisocket, with this remaining time of its timer.
    pub fn note_found(&mut self, poll: &PollResponse, left: Nanos) {
        // A timer that is due shows nothing left, and no longer when it was due.
        if left > Nanos(0) {
            let (earliest, latest) = (poll.began + left, poll.ended + left);
            if self.confirmed && earliest > self.expires_by + RESTART_THRESHOLD {
                self.restarts += 1;
                self.set_expiry(earliest, latest);
            } else if self.confirmed {
                self.expires = self.expires.max(earliest);
                self.expires_by = self.expires_by.min(latest);
            } else {
                self.set_expiry(earliest, latest);
            }
        }
        self.last_seen = poll.began;
        self.confirmed = true;
        self.missing_since = None;
    }

    /// Notes that the timer was restarted and is due between these times.
    pub fn set_expiry(&mut self, earliest: Nanos, latest: Nanos) {
        self.expires = earliest;
        self.expires_by = latest;
    }

    /// Returns its end, if that follows from a complete poll without it, which ended at `ended`. It
    /// was last seen before the poll. `overflows`: how many minisockets found no room and are not
    /// reported yet.
    pub fn end_on_absence(&mut self, ended: Nanos, overflows: &mut u64) -> Option<TimeWait> {
        if self.hooked && (self.descheduled_at.is_some() || self.expires + HOOK_TIMEOUT > ended) {
            return None;
        }
        if self.expires <= ended {
            return Some(self.expired_by(ended));
        }
        match self.missing_since {
            None if !self.confirmed && *overflows > 0 => {
                *overflows -= 1;
                Some(self.overflowed())
            }
            // The SYN of a connection that took its place may be under way: its end is reported
            // when that is established.
            None => {
                self.missing_since = Some(ended);
                None
            }
            Some(missing) => {
                let end = if self.confirmed {
                    TimeWaitEnd::Killed
                } else {
                    TimeWaitEnd::Unknown
                };
                Some(self.ended(end, EndSource::Poll, self.last_seen, missing))
            }
        }
    }

    /// Returns its end where its namespace cannot be polled any more: some time since it was last
    /// seen, once its timer must have fired.
    pub fn end_in_unreachable_namespace(&self, now: Nanos) -> Option<TimeWait> {
        let latest = self.expires_by + MAX_TIMER_DELAY;
        let (unknown, polled) = (TimeWaitEnd::Unknown, EndSource::Poll);
        (latest <= now).then(|| self.ended(unknown, polled, self.last_seen, latest))
    }

    /// Returns the end of an entry for which the kernel made no minisocket.
    fn overflowed(&self) -> TimeWait {
        self.ended(
            TimeWaitEnd::Overflow,
            EndSource::Poll,
            self.entered,
            self.entered,
        )
    }

    pub fn end_by_replacement(&self, role: Role, since: Nanos) -> TimeWait {
        if let Some(at) = self.descheduled_at {
            let end = match role {
                Role::Client => TimeWaitEnd::Reused,
                Role::Server | Role::Unknown => TimeWaitEnd::Recycled,
            };
            return self.ended(end, EndSource::Hook, at, at);
        }
        let latest = self
            .missing_since
            .map_or(since, |missing| missing.min(since));
        // Its timer was due, and may or may not have fired before the new connection came.
        if self.expires <= latest {
            let (unknown, polled) = (TimeWaitEnd::Unknown, EndSource::Poll);
            return self.ended(unknown, polled, self.last_seen, latest);
        }
        match role {
            // connect() takes the minisocket's place right after the transition to SYN_SENT.
            Role::Client => self.ended(TimeWaitEnd::Reused, EndSource::Hook, since, since),
            // The SYN came some time before the handshake was complete.
            Role::Server | Role::Unknown => self.ended(
                TimeWaitEnd::Recycled,
                EndSource::Poll,
                self.last_seen,
                latest,
            ),
        }
    }

    /// It was gone by `latest`, and its timer was due. If it had not been polled for long before
    /// that, it may have been taken down first.
    fn expired_by(&self, latest: Nanos) -> TimeWait {
        let (end, measured) = if self.last_seen + MAX_UNSEEN_BEFORE_EXPIRY >= self.expires {
            (TimeWaitEnd::Expired, EndSource::Timer)
        } else {
            (TimeWaitEnd::Unknown, EndSource::Poll)
        };
        self.ended(end, measured, self.last_seen, latest)
    }

    /// Returns the record of an entry that ended between two times: at the middle, with half the
    /// distance as the error.
    pub fn ended(
        &self,
        end: TimeWaitEnd,
        measured: EndSource,
        earliest: Nanos,
        latest: Nanos,
    ) -> TimeWait {
        let span = latest - earliest;
        let at = earliest + Nanos(span.0 / 2);
        TimeWait {
            at,
            endpoint: self.endpoint.clone(),
            owner: self.owner.clone(),
            entered: self.entered,
            dwell: at - self.entered,
            end,
            measured,
            error: Nanos(span.0.div_ceil(2)) + self.entered_error,
            restarts: self.restarts,
        }
    }

    pub fn next_poll(&self, now: Nanos) -> Nanos {
        if self.hooked {
            (self.expires + HOOK_TIMEOUT).max(now + POLL_INTERVAL)
        } else if !self.confirmed || self.missing_since.is_some() {
            now + FIRST_POLL_DELAY
        } else if self.expires <= now + POLL_BEFORE_EXPIRY {
            now + EXPIRY_POLL_INTERVAL
        } else {
            (self.expires - POLL_BEFORE_EXPIRY).min(now + POLL_INTERVAL)
        }
    }
}
