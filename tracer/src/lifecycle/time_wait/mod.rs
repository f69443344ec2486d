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
use super::index::Index;
use super::slots::{MOST, Order, Slots};
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
/// After a sweep that cost t of CPU, none follows for this many times t: sweeps take at most 2 % of a core.
const REST: u64 = 50;
/// So much of a sweep's result is worked through at a time: a quarter of a millisecond. Records come meanwhile.
const SLICE: usize = 2048;
/// After so long comes the next slice: what it tells has to be written, too.
const PAUSE: Nanos = Nanos::from_millis(5);
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
    /// The CPU time that it took.
    pub cost: Nanos,
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

/// What is known of a namespace that has entries.
#[derive(Debug, Default)]
struct Namespace {
    /// Its entries.
    order: Order,
    entries: usize,
    /// When the next look is due; `None` from when one is asked for until its result is worked through.
    next: Option<Nanos>,
    /// When those want to be looked for that were taken in meanwhile.
    meanwhile: Option<Nanos>,
    not_before: Nanos,
    /// The number of the look that is under way, else of the last one.
    look: Look,
}

impl Namespace {
    fn begin_look(&mut self) {
        self.next = None;
        self.look = self.look.wrapping_add(1);
    }
}

/// The number of a look, counted round: each entry's is that of the look before at the earliest.
type Look = u8;

/// A look's result that is being worked through.
#[derive(Debug)]
struct Settling {
    sweep: Sweep,
    /// How many of those found have been noted.
    noted: usize,
    /// How many entries are still to be judged; `None` before all those found are noted.
    unjudged: Option<usize>,
    /// When the entries that are left want to be looked for.
    next: Option<Nanos>,
}

/// All ends in TIME_WAIT, at most `capacity`; one more is not followed.
#[derive(Debug)]
pub(super) struct TimeWaits {
    capacity: usize,
    /// The kernel's hooks tell beginnings and ends.
    pub hooked: bool,
    /// The kernel tells something of minisockets, by their cookies.
    pub by_cookies: bool,
    entries: Slots<Entry>,
    namespaces: HashMap<NetNs, Namespace>,
    by_place: Index,
    /// Only where the kernel tells something by cookies.
    by_cookie: Index,
    /// Those taken down before their time, in order.
    taken_down: VecDeque<(Nanos, ConnId)>,
    settling: VecDeque<Settling>,
    /// When the next slice of it is due.
    next_slice: Nanos,
}

impl TimeWaits {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.min(MOST),
            hooked: false,
            by_cookies: false,
            entries: Slots::default(),
            namespaces: HashMap::new(),
            by_place: Index::default(),
            by_cookie: Index::default(),
            taken_down: VecDeque::new(),
            settling: VecDeque::new(),
            next_slice: Nanos(0),
        }
    }

    pub fn len(&self) -> usize {
        self.by_place.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Conn> {
        self.entries.iter().map(|entry| &entry.conn)
    }

    pub fn contains(&self, netns: NetNs, tuple: &Tuple) -> bool {
        self.find(netns, tuple).is_some()
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
        if self.len() >= self.capacity {
            return false;
        }
        if let Some(replaced) = self.find(conn.netns, &conn.tuple) {
            self.remove(replaced);
        }
        let first_look = if hooked {
            entered + TIME_WAIT + HOOKS_ARE_LATE
        } else {
            entered + CONFIRM
        };
        let netns = conn.netns;
        let place = self.by_place.hash((netns, conn.tuple));
        let mut entry = Entry::new(conn, owner, cookie, entered, entered_error);
        entry.hooked = hooked;
        let namespace = self.namespaces.entry(netns).or_insert_with(|| Namespace {
            next: Some(first_look),
            ..Namespace::default()
        });
        match &mut namespace.next {
            Some(next) => *next = (*next).min(first_look.max(namespace.not_before)),
            None => {
                let meanwhile = &mut namespace.meanwhile;
                *meanwhile = Some(meanwhile.map_or(first_look, |look| look.min(first_look)));
            }
        }
        entry.look = namespace.look;
        namespace.entries += 1;
        let at = self.entries.insert(&mut namespace.order, entry);
        self.by_place.insert(place, at);
        if let Some(cookie) = cookie.filter(|_| self.by_cookies) {
            self.by_cookie.insert(self.by_cookie.hash(cookie), at);
        }
        true
    }

    /// The namespaces to sweep now; each must be answered by [`Self::swept`].
    pub fn take_due(&mut self, now: Nanos, due: &mut Vec<SweepRequest>) {
        for (netns, namespace) in &mut self.namespaces {
            if namespace.next.is_none_or(|next| next > now) {
                continue;
            }
            namespace.begin_look();
            let entries = self.entries.in_order(&namespace.order);
            let entries = entries.map(|(_, entry)| (entry.conn.tuple, entry.cookie));
            let mut wanted: Vec<_> = entries.take(ASK_FOR_EACH + 1).collect();
            if wanted.len() > ASK_FOR_EACH {
                wanted = Vec::new();
            }
            due.push(SweepRequest {
                netns: *netns,
                wanted,
            });
        }
    }

    /// When the next sweep is due, or [`Self::settle`] has something to do.
    pub fn next_due(&self) -> Option<Nanos> {
        let slice = (!self.settling.is_empty()).then_some(self.next_slice);
        let namespaces = self.namespaces.values();
        let sweeps = namespaces.filter_map(|namespace| namespace.next);
        sweeps.chain(slice).min()
    }

    /// Takes the result of a sweep; the ends that it tells are pushed to `told`, by this call or, of a big one, by
    /// [`Self::settle`]. What was not there yet when the sweep was asked for is not missing in it.
    pub fn swept(&mut self, sweep: Sweep, told: &mut Vec<TimeWait>) {
        if let Some(namespace) = self.namespaces.get_mut(&sweep.netns)
            && namespace.next.is_some()
        {
            namespace.begin_look();
        }
        let now = sweep.ended;
        self.settling.push_back(Settling {
            sweep,
            noted: 0,
            unjudged: None,
            next: None,
        });
        self.settle(now, told);
    }

    /// Goes on with the results of sweeps.
    pub fn settle(&mut self, now: Nanos, told: &mut Vec<TimeWait>) {
        if self.settling.is_empty() || now < self.next_slice {
            return;
        }
        self.next_slice = now + PAUSE;
        let mut room = SLICE;
        while room > 0
            && let Some(mut settling) = self.settling.pop_front()
        {
            self.note(&mut settling, &mut room);
            self.judge(&mut settling, &mut room, told);
            if settling.unjudged == Some(0) {
                self.settled(&settling);
            } else {
                self.settling.push_front(settling);
            }
        }
    }

    /// Those that were found exist.
    fn note(&mut self, settling: &mut Settling, room: &mut usize) {
        let Settling { sweep, noted, .. } = settling;
        let found = sweep.found[*noted..].iter().take(*room);
        *room -= found.len();
        *noted += found.len();
        for sighting in found {
            if let Some(at) = self.find(sweep.netns, &sighting.tuple)
                && let Some(entry) = self.entries.get_mut(at)
                && entry.cookie.is_none_or(|cookie| cookie == sighting.cookie)
            {
                entry.seen(sweep, sighting.left);
            }
        }
        if *noted == sweep.found.len() && settling.unjudged.is_none() {
            let namespace = self.namespaces.get(&sweep.netns);
            settling.unjudged = Some(namespace.map_or(0, |namespace| namespace.entries));
        }
    }

    /// Those that were not may have ended. Each entry that is judged becomes the newest of its order.
    fn judge(&mut self, settling: &mut Settling, room: &mut usize, told: &mut Vec<TimeWait>) {
        let Settling {
            sweep,
            unjudged: Some(unjudged),
            next,
            ..
        } = settling
        else {
            return;
        };
        let tells = sweep.complete || !sweep.reached;
        while *unjudged > 0 && *room > 0 {
            let Some(namespace) = self.namespaces.get_mut(&sweep.netns) else {
                *unjudged = 0;
                return;
            };
            let Some(at) = namespace.order.oldest() else {
                *unjudged = 0;
                return;
            };
            (*unjudged, *room) = (*unjudged - 1, *room - 1);
            self.entries.touch(&mut namespace.order, at);
            let Some(entry) = self.entries.get_mut(at) else {
                continue;
            };
            // Taken in since the look was asked for.
            if entry.look == namespace.look {
                continue;
            }
            entry.look = namespace.look;
            let unseen = tells && entry.last_seen < sweep.began;
            let over = match sweep.reached {
                _ if !unseen => None,
                true => entry.missing(sweep.ended, &mut sweep.overflows),
                false => entry.over_out_of_sight(sweep.ended),
            };
            let look = entry.next_look(sweep.ended);
            match over {
                Some(over) => {
                    self.remove(at);
                    told.push(over);
                }
                None => *next = Some(next.map_or(look, |next| next.min(look))),
            }
        }
    }

    /// All of a sweep's result is worked through: when the next one is due.
    fn settled(&mut self, settling: &Settling) {
        let sweep = &settling.sweep;
        let Some(namespace) = self.namespaces.get_mut(&sweep.netns) else {
            return;
        };
        if namespace.entries == 0 {
            self.namespaces.remove(&sweep.netns);
            return;
        }
        namespace.not_before = sweep.ended + Nanos(sweep.cost.0.saturating_mul(REST));
        let wanted = settling.next.into_iter().chain(namespace.meanwhile.take());
        let wanted = match wanted.min() {
            Some(wanted) if sweep.reached => wanted,
            _ => sweep.ended + QUIET,
        };
        namespace.next = Some(wanted.max(namespace.not_before));
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
        let at = self.find(netns, tuple)?;
        if self.entries.get(at)?.entered >= since {
            return None;
        }
        Some(self.remove(at)?.opened_again(role, since))
    }

    fn find(&self, netns: NetNs, tuple: &Tuple) -> Option<u32> {
        let is = |at| {
            let conn = self.entries.get(at).map(|entry| &entry.conn);
            conn.is_some_and(|conn| conn.netns == netns && conn.tuple == *tuple)
        };
        self.by_place.find(self.by_place.hash((netns, tuple)), is)
    }

    fn find_cookie(&self, cookie: ConnId) -> Option<u32> {
        let is = |at| {
            let entry = self.entries.get(at);
            entry.is_some_and(|entry| entry.cookie == Some(cookie))
        };
        self.by_cookie.find(self.by_cookie.hash(cookie), is)
    }

    fn remove(&mut self, at: u32) -> Option<Entry> {
        let netns = self.entries.get(at)?.conn.netns;
        let namespace = self.namespaces.get_mut(&netns)?;
        let entry = self.entries.remove(&mut namespace.order, at)?;
        namespace.entries -= 1;
        // The look that is under way is waited for.
        if namespace.entries == 0 && namespace.next.is_some() {
            self.namespaces.remove(&netns);
        }
        let place = self.by_place.hash((netns, entry.conn.tuple));
        self.by_place.remove(place, |it| it == at);
        if let Some(cookie) = entry.cookie {
            let hash = self.by_cookie.hash(cookie);
            self.by_cookie.remove(hash, |it| it == at);
        }
        Some(entry)
    }
}
