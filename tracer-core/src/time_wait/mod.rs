//! Follows each TIME_WAIT from its beginning to its end: how long it lasted, and how it ended.
//!
//! The tracepoint shows the beginning (and calls it CLOSE); the end passes no tracepoint. sock_diag
//! shows the minisocket and its timer, so polling a namespace now and then brackets the end; the
//! next SYN on the same addresses and ports shows it when it comes first.

mod apply_poll;
mod entry;
mod hooks;
mod poll;
mod timing;

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt as _};

use super::arena::{Arena, MAX_VALUES, Order, Slot};
use super::finding::{Endpoint, TimeWait};
use super::hash_index::HashIndex;
use super::types::{EndpointId, Nanos, NetNs, Role, SharedOwner, Tuple};
use entry::TimeWaitEntry;
use poll::{PendingPoll, PollNumber};
pub use poll::{PollRequest, PollResponse, PolledMinisocket};
pub use timing::TIME_WAIT;
use timing::{FIRST_POLL_DELAY, HOOK_TIMEOUT, MAX_SINGLE_LOOKUPS};

/// The state of a namespace that has entries.
#[derive(Debug, Default)]
struct Namespace {
    /// The order of its entries.
    order: Order,
    entries: usize,
    /// When the next poll is due; `None` from when one is requested until its result is applied.
    next: Option<Nanos>,
    /// When the entries that were added meanwhile are due.
    meanwhile: Option<Nanos>,
    not_before: Nanos,
    /// The number of the poll that is under way, else of the last one.
    poll_number: PollNumber,
}

impl Namespace {
    fn begin_poll(&mut self) {
        self.next = None;
        self.poll_number = self.poll_number.wrapping_add(1);
    }
}

/// All endpoints in TIME_WAIT, at most `capacity`. Further ones are not followed.
#[derive(Debug)]
pub(super) struct TimeWaits {
    capacity: usize,
    /// Whether the kernel's hooks report beginnings and ends.
    pub hooked: bool,
    /// Whether the kernel reports events of minisockets by their cookies.
    pub by_cookies: bool,
    entries: Arena<TimeWaitEntry>,
    namespaces: HashMap<Option<NetNs>, Namespace>,
    by_tuple: HashIndex,
    /// Used only where the kernel reports events by cookies.
    by_cookie: HashIndex,
    /// The minisockets that were removed before their time, in order.
    descheduled: VecDeque<(Nanos, EndpointId)>,
    pending: VecDeque<PendingPoll>,
    /// When the next slice of the pending polls is due.
    next_slice: Nanos,
}

impl TimeWaits {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.min(MAX_VALUES),
            hooked: false,
            by_cookies: false,
            entries: Arena::default(),
            namespaces: HashMap::new(),
            by_tuple: HashIndex::default(),
            by_cookie: HashIndex::default(),
            descheduled: VecDeque::new(),
            pending: VecDeque::new(),
            next_slice: Nanos(0),
        }
    }

    pub fn len(&self) -> usize {
        self.by_tuple.len()
    }

    /// Returns the endpoints, and when each entered TIME_WAIT.
    pub fn iter(&self) -> impl Iterator<Item = (&Endpoint, Nanos)> {
        self.entries
            .iter()
            .map(|entry| (&entry.endpoint, entry.entered))
    }

    /// Returns the endpoint with these addresses and ports, and its process.
    pub fn get(
        &self,
        netns: Option<NetNs>,
        tuple: &Tuple,
    ) -> Option<(&Endpoint, Option<&SharedOwner>)> {
        let entry = self.entries.get(self.find(netns, tuple)?)?;
        Some((&entry.endpoint, entry.owner.as_ref()))
    }

    pub fn contains(&self, netns: Option<NetNs>, tuple: &Tuple) -> bool {
        self.find(netns, tuple).is_some()
    }

    /// Adds an endpoint that enters TIME_WAIT; hooks report its end, or polls find it. Returns
    /// `false` when there is no room.
    pub fn enter(
        &mut self,
        endpoint: Endpoint,
        owner: Option<SharedOwner>,
        cookie: Option<EndpointId>,
        entered: Nanos,
        entered_error: Nanos,
        hooked: bool,
    ) -> bool {
        if self.len() >= self.capacity {
            return false;
        }
        if let Some(replaced) = self.find(endpoint.netns, &endpoint.tuple) {
            self.remove(replaced);
        }
        let first_poll = if hooked {
            entered + TIME_WAIT + HOOK_TIMEOUT
        } else {
            entered + FIRST_POLL_DELAY
        };
        let netns = endpoint.netns;
        let hash = self.by_tuple.hash((netns, endpoint.tuple));
        let mut entry = TimeWaitEntry::new(endpoint, owner, cookie, entered, entered_error);
        entry.hooked = hooked;
        let namespace = self.namespaces.entry(netns).or_insert_with(|| Namespace {
            next: Some(first_poll),
            ..Namespace::default()
        });
        match &mut namespace.next {
            Some(next) => *next = (*next).min(first_poll.max(namespace.not_before)),
            None => {
                let meanwhile = &mut namespace.meanwhile;
                *meanwhile = Some(meanwhile.map_or(first_poll, |due| due.min(first_poll)));
            }
        }
        entry.poll_number = namespace.poll_number;
        namespace.entries += 1;
        let slot = self.entries.insert(&mut namespace.order, entry);
        self.by_tuple.insert(hash, slot.index());
        if let Some(cookie) = cookie.filter(|_| self.by_cookies) {
            self.by_cookie
                .insert(self.by_cookie.hash(cookie), slot.index());
        }
        true
    }

    /// Collects the polls that are due now; each must be answered by [`Self::apply_poll`].
    pub fn take_due(&mut self, now: Nanos, due: &mut Vec<PollRequest>) {
        for (netns, namespace) in &mut self.namespaces {
            if namespace.next.is_none_or(|next| next > now) {
                continue;
            }
            namespace.begin_poll();
            let entries = self.entries.in_order(&namespace.order);
            let entries = entries.map(|entry| (entry.endpoint.tuple, entry.cookie));
            let mut minisockets: Vec<_> = entries.take(MAX_SINGLE_LOOKUPS + 1).collect();
            if minisockets.len() > MAX_SINGLE_LOOKUPS {
                minisockets = Vec::new();
            }
            due.push(PollRequest {
                netns: *netns,
                minisockets,
            });
        }
    }

    /// Returns when the next poll is due, or [`Self::continue_polls`] has something to do.
    pub fn next_due(&self) -> Option<Nanos> {
        let slice = (!self.pending.is_empty()).then_some(self.next_slice);
        let namespaces = self.namespaces.values();
        let polls = namespaces.filter_map(|namespace| namespace.next);
        polls.chain(slice).min()
    }

    /// Notes that a connection with these addresses and ports was opened: by this host
    /// (`Role::Client`) at `since`, or by the peer's SYN before `since`.
    pub fn replaced(
        &mut self,
        netns: Option<NetNs>,
        tuple: &Tuple,
        role: Role,
        since: Nanos,
    ) -> Option<TimeWait> {
        let slot = self.find(netns, tuple)?;
        if self.entries.get(slot)?.entered >= since {
            return None;
        }
        Some(self.remove(slot)?.end_by_replacement(role, since))
    }

    fn find(&self, netns: Option<NetNs>, tuple: &Tuple) -> Option<Slot> {
        let slot_of = |index| {
            let (slot, TimeWaitEntry { endpoint, .. }) = self.entries.slot_at(index)?;
            (endpoint.netns == netns && endpoint.tuple == *tuple).then_some(slot)
        };
        self.by_tuple
            .find(self.by_tuple.hash((netns, tuple)), slot_of)
    }

    fn find_cookie(&self, cookie: EndpointId) -> Option<Slot> {
        let slot_of = |index| {
            let (slot, entry) = self.entries.slot_at(index)?;
            (entry.cookie == Some(cookie)).then_some(slot)
        };
        self.by_cookie.find(self.by_cookie.hash(cookie), slot_of)
    }

    fn remove(&mut self, slot: Slot) -> Option<TimeWaitEntry> {
        let netns = self.entries.get(slot)?.endpoint.netns;
        let namespace = self.namespaces.get_mut(&netns)?;
        let entry = self.entries.remove(&mut namespace.order, slot)?;
        namespace.entries -= 1;
        // The poll that is under way is waited for.
        if namespace.entries == 0 && namespace.next.is_some() {
            self.namespaces.remove(&netns);
        }
        let hash = self.by_tuple.hash((netns, entry.endpoint.tuple));
        self.by_tuple.remove(hash, slot.index());
        if let Some(cookie) = entry.cookie {
            let hash = self.by_cookie.hash(cookie);
            self.by_cookie.remove(hash, slot.index());
        }
        Some(entry)
    }
}
