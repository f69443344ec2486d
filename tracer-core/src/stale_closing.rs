//! Ends that have been closing for long: most wait for their peer, but the →CLOSE of some was
//! missed. The kernel skips eBPF programs now and then (a program that is hit again on its CPU), so
//! sock_diag is asked for them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use foldhash::HashSet;

use super::types::{EndpointId, Nanos};

/// A close takes less, unless its peer or the wire is slow.
const PATIENCE: Nanos = Nanos::from_secs(2);
/// The longest wait between two probes of an endpoint that is still there.
const RARELY: Nanos = Nanos::from_secs(60);
/// The record of what a probe shows may be on its way through the ring: it is waited for this long.
const RING: Nanos = Nanos::from_millis(100);

/// Which endpoints to probe, and when. One that has gone since stays in it until then.
#[derive(Debug, Default)]
pub(super) struct StaleClosing {
    /// Those that began to close, in order of time: nearly all are gone before they are due.
    closing: VecDeque<(Nanos, EndpointId)>,
    /// The others.
    due: BinaryHeap<Reverse<(Nanos, EndpointId)>>,
    /// Those that a probe has shown to be gone.
    gone: HashSet<EndpointId>,
}

impl StaleClosing {
    /// It began to close.
    pub fn closing(&mut self, id: EndpointId, now: Nanos) {
        self.closing.push_back((now + PATIENCE, id));
    }

    /// Something was lost, and it may be gone.
    pub fn may_be_gone(&mut self, id: EndpointId, now: Nanos) {
        self.due.push(Reverse((now + RING, id)));
    }

    /// A probe has shown that it is gone. The first time false: its records may still come, and one
    /// more probe follows.
    pub fn is_gone(&mut self, id: EndpointId, now: Nanos) -> bool {
        if self.gone.remove(&id) {
            return true;
        }
        self.gone.insert(id);
        self.may_be_gone(id, now);
        false
    }

    /// It is still there, and has been closing since `since`.
    pub fn alive(&mut self, id: EndpointId, since: Option<Nanos>, now: Nanos) {
        self.gone.remove(&id);
        let age = since.map_or(RARELY, |since| now - since);
        self.due
            .push(Reverse((now + age.clamp(PATIENCE, RARELY), id)));
    }

    /// It has closed: no wakeup is needed for it. Those behind it may have closed before it.
    pub fn closed(&mut self, id: EndpointId, lives: impl Fn(EndpointId) -> bool) {
        if self.closing.front().is_some_and(|(_, first)| *first == id) {
            self.closing.pop_front();
            self.forget_closed(lives);
        }
    }

    /// Forgets those that come first and have closed.
    fn forget_closed(&mut self, lives: impl Fn(EndpointId) -> bool) {
        while self.closing.front().is_some_and(|(_, id)| !lives(*id)) {
            self.closing.pop_front();
        }
        while let Some(Reverse((_, id))) = self.due.peek().copied()
            && !lives(id)
        {
            self.due.pop();
            self.gone.remove(&id);
        }
    }

    /// The next to be asked for now; it must be answered.
    pub fn next(&mut self, now: Nanos, lives: impl Fn(EndpointId) -> bool) -> Option<EndpointId> {
        self.forget_closed(lives);
        if let Some((_, id)) = self.closing.pop_front_if(|(at, _)| *at <= now) {
            return Some(id);
        }
        let Reverse((at, id)) = self.due.peek().copied()?;
        if at > now {
            return None;
        }
        self.due.pop();
        Some(id)
    }

    /// When the next probe is due.
    pub fn next_due(&self) -> Option<Nanos> {
        let closing = self.closing.front().map(|(at, _)| *at);
        let others = self.due.peek().map(|Reverse((at, _))| *at);
        closing.into_iter().chain(others).min()
    }
}
