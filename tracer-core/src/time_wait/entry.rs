//! One endpoint in TIME_WAIT: its observations, and what follows from them about its end.

use super::poll::{Poll, PollNumber};
use super::timing::{
    BEFORE, CONFIRM, EXPIRING, HOOKS_ARE_LATE, LATE, QUIET, RESTARTED, SEEN_LATELY, TIME_WAIT,
};
use crate::finding::{Endpoint, Measured, TimeWait, TimeWaitEnd};
use crate::types::{EndpointId, Nanos, Role, SharedOwner};

#[derive(Debug)]
pub(super) struct Entry {
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
    pub taken_down: Option<Nanos>,
}

impl Entry {
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
            taken_down: None,
        }
    }

    /// Notes that a poll has found the minisocket, with this remaining time of its timer.
    pub fn seen(&mut self, poll: &Poll, left: Nanos) {
        // A timer that is due shows nothing left, and no longer when it was due.
        if left > Nanos(0) {
            let (earliest, latest) = (poll.began + left, poll.ended + left);
            if self.confirmed && earliest > self.expires_by + RESTARTED {
                self.restarts += 1;
                self.expires_at(earliest, latest);
            } else if self.confirmed {
                self.expires = self.expires.max(earliest);
                self.expires_by = self.expires_by.min(latest);
            } else {
                self.expires_at(earliest, latest);
            }
        }
        self.last_seen = poll.began;
        self.confirmed = true;
        self.missing_since = None;
    }

    /// Notes that the timer was restarted and is due between these times.
    pub fn expires_at(&mut self, earliest: Nanos, latest: Nanos) {
        self.expires = earliest;
        self.expires_by = latest;
    }

    /// Returns its end, if that follows from a complete poll without it, which ended at `ended`. It
    /// was last seen before the poll. `overflows`: how many minisockets found no room and are not
    /// reported yet.
    pub fn missing(&mut self, ended: Nanos, overflows: &mut u64) -> Option<TimeWait> {
        if self.hooked && (self.taken_down.is_some() || self.expires + HOOKS_ARE_LATE > ended) {
            return None;
        }
        if self.expires <= ended {
            return Some(self.expired_by(ended));
        }
        match self.missing_since {
            None if !self.confirmed && *overflows > 0 => {
                *overflows -= 1;
                Some(self.never())
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
                Some(self.ended(end, Measured::Poll, self.last_seen, missing))
            }
        }
    }

    /// Returns its end where its namespace cannot be polled any more: some time since it was last
    /// seen, once its timer must have fired.
    pub fn over_out_of_sight(&self, now: Nanos) -> Option<TimeWait> {
        let latest = self.expires_by + LATE;
        let (unknown, polled) = (TimeWaitEnd::Unknown, Measured::Poll);
        (latest <= now).then(|| self.ended(unknown, polled, self.last_seen, latest))
    }

    /// Returns the end of an entry for which the kernel made no minisocket.
    fn never(&self) -> TimeWait {
        self.ended(
            TimeWaitEnd::Overflow,
            Measured::Poll,
            self.entered,
            self.entered,
        )
    }

    pub fn replaced(&self, role: Role, since: Nanos) -> TimeWait {
        if let Some(at) = self.taken_down {
            let end = match role {
                Role::Client => TimeWaitEnd::Reused,
                Role::Server | Role::Unknown => TimeWaitEnd::Recycled,
            };
            return self.ended(end, Measured::Hook, at, at);
        }
        let latest = self
            .missing_since
            .map_or(since, |missing| missing.min(since));
        // Its timer was due, and may or may not have fired before the new connection came.
        if self.expires <= latest {
            let (unknown, polled) = (TimeWaitEnd::Unknown, Measured::Poll);
            return self.ended(unknown, polled, self.last_seen, latest);
        }
        match role {
            // connect() takes the minisocket's place right after the transition to SYN_SENT.
            Role::Client => self.ended(TimeWaitEnd::Reused, Measured::Hook, since, since),
            // The SYN came some time before the handshake was complete.
            Role::Server | Role::Unknown => self.ended(
                TimeWaitEnd::Recycled,
                Measured::Poll,
                self.last_seen,
                latest,
            ),
        }
    }

    /// It was gone by `latest`, and its timer was due. If it had not been polled for long before
    /// that, it may have been taken down first.
    fn expired_by(&self, latest: Nanos) -> TimeWait {
        let (end, measured) = if self.last_seen + SEEN_LATELY >= self.expires {
            (TimeWaitEnd::Expired, Measured::Timer)
        } else {
            (TimeWaitEnd::Unknown, Measured::Poll)
        };
        self.ended(end, measured, self.last_seen, latest)
    }

    /// Returns an end that lies between two times: the middle, with half the distance as the error.
    pub fn ended(
        &self,
        end: TimeWaitEnd,
        measured: Measured,
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
            (self.expires + HOOKS_ARE_LATE).max(now + QUIET)
        } else if !self.confirmed || self.missing_since.is_some() {
            now + CONFIRM
        } else if self.expires <= now + BEFORE {
            now + EXPIRING
        } else {
            (self.expires - BEFORE).min(now + QUIET)
        }
    }
}
