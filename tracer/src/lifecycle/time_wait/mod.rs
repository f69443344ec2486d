//! The ledger of TIME_WAIT: who entered it, how long it really lasted, how it ended.
//!
//! The tracepoint shows the beginning (and calls it CLOSE); the end passes no tracepoint. sock_diag shows the minisocket
//! and its timer, so looking now and then ("sweeping" a namespace) brackets the end; the next SYN on the same addresses
//! and ports tells it when it comes first.

mod entry;
mod hooks;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use foldhash::{HashMap, HashMapExt as _};

use super::finding::{Conn, TimeWait};
use super::types::{ConnId, Nanos, NetNs, Role, SharedOwner, Tuple};
use entry::Entry;

/// How long a TIME_WAIT lasts by its timer: `TCP_TIMEWAIT_LEN` of include/net/tcp.h, a constant. The timer wheel fires
/// it up to an eighth of that class of time-outs later: 2 s with HZ=250 (kernel/time/timer.c).
pub const TIME_WAIT: Nanos = Nanos::from_secs(60);

/// A new entry is looked for after this long, to see that it exists at all.
const CONFIRM: Nanos = Nanos::from_millis(200);
/// From its nominal expiry on, an entry is looked for this often: half of it is the error of the end.
const EXPIRING: Nanos = Nanos::from_millis(250);
/// The last look before that is so long before: until then it is known to have lived.
const BEFORE: Nanos = Nanos::from_millis(50);
/// One that was gone when its timer was due has expired, if a look found it there so long before that or later.
const SEEN_LATELY: Nanos = QUIET;
/// Otherwise this often, to bracket an end that comes early.
const QUIET: Nanos = Nanos::from_secs(5);
/// After a sweep that took t, none follows for this many times t: sweeps take at most 2 % of a core.
const REST: u64 = 50;
/// With up to so many entries, asking for each (1.6 µs) is cheaper than walking the kernel's whole table (16 ms).
const ASK_FOR_EACH: usize = 4096;
/// Where hooks tell each end, nobody looks before the timer should have fired at the latest and its record have come.
const HOOKS_ARE_LATE: Nanos = Nanos::from_secs(5);
/// The timer wheel is late by an eighth at most (`LVL_CLK_SHIFT` of kernel/time/timer.c).
const LATE: Nanos = Nanos(TIME_WAIT.0 / 8);
/// An end before its time waits so long for the handshake of the connection that took its place.
const REPLACEMENT: Nanos = Nanos::from_secs(3);
/// A timer that is later than before by more than this was started anew; the kernel's clock ticks in up to 10 ms.
const RESTARTED: Nanos = Nanos::from_millis(100);

/// A look at the minisockets of a namespace that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepRequest {
    /// The namespace.
    pub netns: NetNs,
    /// Whom to look for: addresses and ports, and the cookie where there is one. Empty when there are so many that a
    /// look at all of them is cheaper.
    pub wanted: Vec<(Tuple, Option<ConnId>)>,
}

/// The result of a look at the minisockets of a namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sweep {
    /// The namespace.
    pub netns: NetNs,
    /// When the look began.
    pub began: Nanos,
    /// When it ended.
    pub ended: Nanos,
    /// There was a way into the namespace. If not, it is gone, or only its last process is.
    pub reached: bool,
    /// Nothing was left out; if not, absence means nothing.
    pub complete: bool,
    /// How much `TCPTimeWaitOverflow` has grown since the last look at it.
    pub overflows: u64,
    /// The minisockets in TIME_WAIT, of those that were wanted at least.
    pub found: Vec<Sighting>,
}

/// A minisocket in TIME_WAIT.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sighting {
    /// Its cookie.
    pub cookie: ConnId,
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// What its timer has left; zero when it is due.
    pub left: Nanos,
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
    /// The kernel's hooks tell beginnings and ends.
    pub hooked: bool,
    /// The kernel tells something of minisockets, by their cookies.
    pub by_cookies: bool,
    len: usize,
    namespaces: HashMap<NetNs, Namespace>,
    /// Where to find an entry by its cookie; only where the kernel tells something by it.
    by_cookie: HashMap<ConnId, (NetNs, Tuple)>,
    /// Those taken down before their time, in order.
    taken_down: VecDeque<(Nanos, ConnId)>,
}

impl TimeWaits {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            hooked: false,
            by_cookies: false,
            len: 0,
            namespaces: HashMap::new(),
            by_cookie: HashMap::new(),
            taken_down: VecDeque::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = &Conn> {
        let entries = self
            .namespaces
            .values()
            .flat_map(|namespace| namespace.entries.values());
        entries.map(|entry| &entry.conn)
    }

    pub fn contains(&self, netns: NetNs, tuple: &Tuple) -> bool {
        let namespace = self.namespaces.get(&netns);
        namespace.is_some_and(|namespace| namespace.entries.contains_key(tuple))
    }

    /// Takes an end in, whose end hooks will tell or looks must find; false when there is no room for it.
    pub fn enter(
        &mut self,
        conn: Conn,
        owner: Option<SharedOwner>,
        cookie: Option<ConnId>,
        entered: Nanos,
        entered_error: Nanos,
        hooked: bool,
    ) -> bool {
        if self.len >= self.capacity {
            return false;
        }
        let namespace = self.namespaces.entry(conn.netns).or_default();
        let first_look = if hooked {
            entered + TIME_WAIT + HOOKS_ARE_LATE
        } else {
            entered + CONFIRM
        };
        let look = first_look.max(namespace.not_before);
        namespace.next = if namespace.entries.is_empty() {
            look
        } else {
            namespace.next.min(look)
        };
        let mut entry = Entry::new(conn, owner, cookie, entered, entered_error);
        entry.hooked = hooked;
        if self.by_cookies
            && let Some(cookie) = entry.cookie
        {
            self.by_cookie
                .insert(cookie, (entry.conn.netns, entry.conn.tuple));
        }
        match namespace.entries.insert(entry.conn.tuple, entry) {
            None => self.len += 1,
            Some(replaced) => forget(&mut self.by_cookie, &replaced),
        }
        true
    }

    /// The namespaces to sweep now; each must be answered by [`Self::swept`].
    pub fn take_due(&mut self, now: Nanos, due: &mut Vec<SweepRequest>) {
        for (netns, namespace) in &mut self.namespaces {
            if namespace.next <= now {
                namespace.next = now + QUIET;
                let entries = namespace.entries.iter();
                let wanted = match entries.len() {
                    0..=ASK_FOR_EACH => entries
                        .map(|(tuple, entry)| (*tuple, entry.cookie))
                        .collect(),
                    _ => Vec::new(),
                };
                due.push(SweepRequest {
                    netns: *netns,
                    wanted,
                });
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
                entry.seen(sweep, sighting.left);
            }
        }
        if sweep.complete || !sweep.reached {
            // In the order of time: a hash map's own differs from run to run.
            let unseen = namespace.entries.values_mut();
            let mut unseen: Vec<&mut Entry> = unseen
                .filter(|entry| entry.last_seen < sweep.began)
                .collect();
            unseen.sort_unstable_by_key(|entry| (entry.entered, entry.conn.id));
            let mut overflows = sweep.overflows;
            let first = told.len();
            told.extend(unseen.into_iter().filter_map(|entry| match sweep.reached {
                true => entry.missing(sweep, &mut overflows),
                false => entry.over_out_of_sight(sweep.ended),
            }));
            for time_wait in &told[first..] {
                if let Some(entry) = namespace.entries.remove(&time_wait.conn.tuple) {
                    forget(&mut self.by_cookie, &entry);
                }
            }
            self.len -= told.len() - first;
        }
        if namespace.entries.is_empty() {
            self.namespaces.remove(&sweep.netns);
            return;
        }
        let cost = sweep.ended - sweep.began;
        namespace.not_before = sweep.ended + Nanos(cost.0.saturating_mul(REST));
        let looks = namespace.entries.values();
        let wanted = looks.map(|entry| entry.next_look(sweep.ended)).min();
        let wanted = match wanted {
            Some(wanted) if sweep.reached => wanted,
            _ => sweep.ended + QUIET,
        };
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
        Some(self.remove(netns, tuple)?.opened_again(role, since))
    }

    fn remove(&mut self, netns: NetNs, tuple: &Tuple) -> Option<Entry> {
        let namespace = self.namespaces.get_mut(&netns)?;
        let entry = namespace.entries.remove(tuple)?;
        self.len -= 1;
        if namespace.entries.is_empty() {
            self.namespaces.remove(&netns);
        }
        forget(&mut self.by_cookie, &entry);
        Some(entry)
    }
}

fn forget(by_cookie: &mut HashMap<ConnId, (NetNs, Tuple)>, entry: &Entry) {
    if let Some(cookie) = entry.cookie {
        by_cookie.remove(&cookie);
    }
}
