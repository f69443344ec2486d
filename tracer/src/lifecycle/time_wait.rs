//! The ledger of TIME_WAIT: who entered it, how long it really lasted, how it ended.
//!
//! The tracepoint shows the beginning (and calls it CLOSE); the end passes no tracepoint. sock_diag shows the minisocket
//! and its timer, so looking now and then ("sweeping" a namespace) brackets the end; the next SYN on the same addresses
//! and ports tells it when it comes first.

use std::collections::HashMap;

use super::finding::{Conn, Measured, TimeWait, TimeWaitEnd};
use super::types::{ConnId, Nanos, NetNs, Role, SharedOwner, Tuple};

/// How long a TIME_WAIT lasts by its timer: `TCP_TIMEWAIT_LEN` of include/net/tcp.h, a constant. The timer wheel fires
/// it up to an eighth of that class of time-outs later: 2 s with HZ=250 (kernel/time/timer.c).
pub const TIME_WAIT: Nanos = Nanos::from_secs(60);

/// A new entry is looked for after this long, to see that it exists at all.
const CONFIRM: Nanos = Nanos::from_millis(200);
/// From its nominal expiry on, an entry is looked for this often: half of it is the error of the end.
const EXPIRING: Nanos = Nanos::from_millis(250);
/// Otherwise this often, to bracket an end that comes early.
const QUIET: Nanos = Nanos::from_secs(5);
/// After a sweep that took t, none follows for this many times t: sweeps take at most 2 % of a core.
const REST: u64 = 50;
/// A timer that is later than before by more than this was started anew; the kernel's clock ticks in up to 10 ms.
const RESTARTED: Nanos = Nanos::from_millis(100);

/// One look at all minisockets of a namespace.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The namespace.
    pub netns: NetNs,
    /// When the look began.
    pub began: Nanos,
    /// When it ended.
    pub ended: Nanos,
    /// Nothing was left out; if not, absence means nothing.
    pub complete: bool,
    /// How much `TCPTimeWaitOverflow` has grown since the last look at it.
    pub overflows: u64,
    /// The minisockets in TIME_WAIT.
    pub found: Vec<Sighting>,
}

/// A minisocket in TIME_WAIT.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// Its cookie.
    pub cookie: ConnId,
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// What its timer has left; zero when it is due.
    pub left: Nanos,
}

#[derive(Debug)]
struct Entry {
    conn: Conn,
    owner: Option<SharedOwner>,
    cookie: Option<ConnId>,
    entered: Nanos,
    entered_error: Nanos,
    expires: Nanos,
    /// When it was last known to exist.
    last_seen: Nanos,
    confirmed: bool,
    restarts: u32,
    /// It was missing in a sweep before its time: a SYN may still explain that.
    missing_since: Option<Nanos>,
}

#[derive(Debug, Default)]
struct Namespace {
    entries: HashMap<Tuple, Entry>,
    next: Nanos,
    not_before: Nanos,
}

/// All ends in TIME_WAIT, at most `capacity`; one more is not followed.
#[derive(Debug)]
pub(super) struct TimeWaits {
    capacity: usize,
    len: usize,
    namespaces: HashMap<NetNs, Namespace>,
}

impl TimeWaits {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            len: 0,
            namespaces: HashMap::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Takes an end in; false when there is no room for it.
    pub fn enter(
        &mut self,
        conn: Conn,
        owner: Option<SharedOwner>,
        cookie: Option<ConnId>,
        entered: Nanos,
        entered_error: Nanos,
    ) -> bool {
        if self.len >= self.capacity {
            return false;
        }
        let namespace = self.namespaces.entry(conn.netns).or_default();
        let look = (entered + CONFIRM).max(namespace.not_before);
        namespace.next = if namespace.entries.is_empty() {
            look
        } else {
            namespace.next.min(look)
        };
        let entry = Entry {
            owner,
            cookie,
            entered,
            entered_error,
            expires: entered + TIME_WAIT,
            last_seen: entered,
            confirmed: false,
            restarts: 0,
            missing_since: None,
            conn,
        };
        if namespace.entries.insert(entry.conn.tuple, entry).is_none() {
            self.len += 1;
        }
        true
    }

    /// The namespaces to sweep now; each must be answered by [`Self::swept`].
    pub fn take_due(&mut self, now: Nanos, due: &mut Vec<NetNs>) {
        for (netns, namespace) in &mut self.namespaces {
            if namespace.next <= now {
                namespace.next = now + QUIET;
                due.push(*netns);
            }
        }
    }

    /// When the next sweep is due.
    pub fn next_due(&self) -> Option<Nanos> {
        self.namespaces
            .values()
            .map(|namespace| namespace.next)
            .min()
    }

    /// Takes the result of a sweep; the ends that it tells are pushed to `told`.
    pub fn swept(&mut self, sweep: &Sweep, told: &mut Vec<TimeWait>) {
        let Some(namespace) = self.namespaces.get_mut(&sweep.netns) else {
            return;
        };
        for sighting in &sweep.found {
            if let Some(entry) = namespace.entries.get_mut(&sighting.tuple)
                && entry.cookie.is_none_or(|cookie| cookie == sighting.cookie)
            {
                entry.seen(sweep.began, sighting.left);
            }
        }
        let before = namespace.entries.len();
        let mut overflows = sweep.overflows;
        if sweep.complete {
            namespace
                .entries
                .retain(|_, entry| match entry.missing(sweep, &mut overflows) {
                    Some(time_wait) => {
                        told.push(time_wait);
                        false
                    }
                    None => true,
                });
        }
        self.len -= before - namespace.entries.len();
        if namespace.entries.is_empty() {
            self.namespaces.remove(&sweep.netns);
            return;
        }
        let cost = sweep.ended - sweep.began;
        namespace.not_before = sweep.ended + Nanos(cost.0.saturating_mul(REST));
        let wanted = namespace
            .entries
            .values()
            .map(|entry| entry.next_look(sweep.ended))
            .min();
        let wanted = wanted
            .unwrap_or(sweep.ended + QUIET)
            .min(sweep.ended + QUIET);
        namespace.next = wanted.max(namespace.not_before);
    }

    /// A connection with these addresses and ports was opened: by this end (`Role::Client`) at `since`, or by the
    /// peer's SYN before `since`.
    pub fn opened_again(
        &mut self,
        netns: NetNs,
        tuple: &Tuple,
        role: Role,
        since: Nanos,
    ) -> Option<TimeWait> {
        if self.len == 0 {
            return None;
        }
        let namespace = self.namespaces.get_mut(&netns)?;
        if namespace.entries.get(tuple)?.entered >= since {
            return None;
        }
        let entry = namespace.entries.remove(tuple)?;
        self.len -= 1;
        if namespace.entries.is_empty() {
            self.namespaces.remove(&netns);
        }
        Some(entry.opened_again(role, since))
    }
}

impl Entry {
    fn seen(&mut self, at: Nanos, left: Nanos) {
        let expires = at + left;
        if self.confirmed && expires > self.expires + RESTARTED {
            self.restarts += 1;
        }
        // A timer that is due shows nothing left, and says no more about when it was.
        if left > Nanos(0) {
            self.expires = expires;
        }
        self.last_seen = at;
        self.confirmed = true;
        self.missing_since = None;
    }

    /// Its end, if a complete sweep without it tells that.
    fn missing(&mut self, sweep: &Sweep, overflows: &mut u64) -> Option<TimeWait> {
        if self.last_seen >= sweep.began {
            return None;
        }
        if self.expires <= sweep.ended {
            let earliest = self.last_seen.max(self.expires);
            return Some(self.ended(TimeWaitEnd::Expired, Measured::Timer, earliest, sweep.ended));
        }
        if !self.confirmed && *overflows > 0 {
            *overflows -= 1;
            return Some(self.ended(
                TimeWaitEnd::Overflow,
                Measured::Sweep,
                self.entered,
                self.entered,
            ));
        }
        match self.missing_since {
            // The SYN of a connection that took its place may be under way: it is told when that is established.
            None => {
                self.missing_since = Some(sweep.ended);
                None
            }
            Some(missing) => {
                let end = if self.confirmed {
                    TimeWaitEnd::Killed
                } else {
                    TimeWaitEnd::Unknown
                };
                Some(self.ended(end, Measured::Sweep, self.last_seen, missing))
            }
        }
    }

    fn opened_again(&self, role: Role, since: Nanos) -> TimeWait {
        let latest = self
            .missing_since
            .map_or(since, |missing| missing.min(since));
        if self.expires <= latest {
            let earliest = self.last_seen.max(self.expires);
            return self.ended(TimeWaitEnd::Expired, Measured::Timer, earliest, latest);
        }
        match role {
            // connect() takes the minisocket's place right after the transition to SYN_SENT.
            Role::Client => self.ended(TimeWaitEnd::Reused, Measured::Hook, since, since),
            // The SYN came some time before the handshake was complete.
            Role::Server | Role::Unknown => self.ended(
                TimeWaitEnd::Recycled,
                Measured::Sweep,
                self.last_seen,
                latest,
            ),
        }
    }

    /// The end lies between two times: the middle is told, and half the distance as the error.
    fn ended(
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
            conn: self.conn.clone(),
            owner: self.owner.clone(),
            entered: self.entered,
            dwell: at - self.entered,
            end,
            measured,
            error: Nanos(span.0.div_ceil(2)) + self.entered_error,
            restarts: self.restarts,
        }
    }

    fn next_look(&self, now: Nanos) -> Nanos {
        if !self.confirmed || self.missing_since.is_some() {
            now + CONFIRM
        } else if self.expires <= now {
            now + EXPIRING
        } else {
            self.expires
        }
    }
}
