//! Endpoints that have been closing for long. Most wait for their peer, but the →CLOSE of some was
//! missed, because the kernel at times skips an eBPF program (one that is hit again on its CPU).
//! They are probed through sock_diag.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use foldhash::HashSet;

use super::types::{EndpointId, Nanos};

/// The time after which a closing endpoint is probed. A close takes less, unless its peer or the
/// network is slow.
const FIRST_PROBE_DELAY: Nanos = Nanos::from_secs(2);
/// The longest wait between two probes of an endpoint that is still there.
const MAX_PROBE_INTERVAL: Nanos = Nanos::from_secs(60);
/// How long a record may be on its way through the ring buffer after the kernel wrote it.
const MAX_RING_DELAY: Nanos = Nanos::from_millis(100);

/// The endpoints to probe, and when. An endpoint that has ended stays until its time.
#[derive(Debug, Default)]
pub(super) struct StaleClosing {
    /// The endpoints that began to close, in order of time. Nearly all have ended before they are
    /// due.
    closing: VecDeque<(Nanos, EndpointId)>,
    /// All other endpoints that are to be probed.
    due: BinaryHeap<Reverse<(Nanos, EndpointId)>>,
    /// The endpoints that a probe has shown to be gone.
    gone: HashSet<EndpointId>,
}

impl StaleClosing {
    /// Notes that an endpoint began to close.
    pub fn note_closing(&mut self, id: EndpointId, now: Nanos) {
        self.closing.push_back((now + FIRST_PROBE_DELAY, id));
    }

    /// Notes that an endpoint may be gone, because records were lost.
    pub fn schedule_probe(&mut self, id: EndpointId, now: Nanos) {
        self.due.push(Reverse((now + MAX_RING_DELAY, id)));
    }

    /// Notes that a probe did not find an endpoint. Returns `false` the first time: its records may
    /// still arrive, and one more probe follows.
    pub fn confirm_gone(&mut self, id: EndpointId, now: Nanos) -> bool {
        if self.gone.remove(&id) {
            return true;
        }
        self.gone.insert(id);
        self.schedule_probe(id, now);
        false
    }

    /// Notes that a probe has found an endpoint, which has been closing since `since`.
    pub fn found_alive(&mut self, id: EndpointId, since: Option<Nanos>, now: Nanos) {
        self.gone.remove(&id);
        let age = since.map_or(MAX_PROBE_INTERVAL, |since| now - since);
        self.due.push(Reverse((
            now + age.clamp(FIRST_PROBE_DELAY, MAX_PROBE_INTERVAL),
            id,
        )));
    }

    /// Notes that an endpoint has closed and needs no probe. Later ones in the queue may have
    /// closed before.
    pub fn note_closed(&mut self, id: EndpointId, lives: impl Fn(EndpointId) -> bool) {
        if self.closing.front().is_some_and(|(_, first)| *first == id) {
            self.closing.pop_front();
            self.forget_closed(lives);
        }
    }

    /// Removes the endpoints at the front of the queue that have closed.
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

    /// Returns the next endpoint to probe now; the probe must be answered.
    pub fn take_due(
        &mut self,
        now: Nanos,
        lives: impl Fn(EndpointId) -> bool,
    ) -> Option<EndpointId> {
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

    /// Returns when the next probe is due.
    pub fn next_due(&self) -> Option<Nanos> {
        let closing = self.closing.front().map(|(at, _)| *at);
        let others = self.due.peek().map(|Reverse((at, _))| *at);
        closing.into_iter().chain(others).min()
    }
}
