//! When each endpoint that may be stuck is to be probed.

use std::collections::{BTreeSet, VecDeque};

use foldhash::{HashMap, HashMapExt as _};

use crate::types::{EndpointId, Nanos};

/// The queue length below which outdated entries are not removed.
const MIN_COMPACTION_LEN: usize = 4096;

/// Endpoints that entered a state in which they can be stuck, in the order of time, and those that
/// are to be probed at a time of their own. Most endpoints leave the state at once and leave an
/// outdated entry. These entries are removed whenever the queue has doubled, so it holds at most
/// twice as many entries as there are endpoints in such a state.
#[derive(Debug)]
pub(crate) struct Deadlines {
    after: Nanos,
    entered: VecDeque<(Nanos, EndpointId)>,
    scheduled: BTreeSet<(Nanos, EndpointId)>,
    /// The times of those endpoints: an endpoint is probed once, however often a probe was
    /// requested.
    scheduled_at: HashMap<EndpointId, Nanos>,
    tidy_at: usize,
}

impl Deadlines {
    /// An endpoint is due when it has been in its state for `after`.
    pub fn new(after: Nanos) -> Self {
        Self {
            after,
            entered: VecDeque::new(),
            scheduled: BTreeSet::new(),
            scheduled_at: HashMap::new(),
            tidy_at: MIN_COMPACTION_LEN,
        }
    }

    /// Adds an endpoint that enters its state. `still_in` returns which entries still matter.
    pub fn add(&mut self, at: Nanos, id: EndpointId, still_in: impl Fn(Nanos, EndpointId) -> bool) {
        if self.entered.len() >= self.tidy_at {
            self.entered.retain(|&(at, id)| still_in(at, id));
            self.tidy_at = MIN_COMPACTION_LEN.max(2 * self.entered.len());
        }
        self.entered.push_back((at, id));
    }

    /// Schedules a probe for this time, unless one is scheduled earlier.
    pub fn probe_at(&mut self, due: Nanos, id: EndpointId) {
        let known = self.scheduled_at.get(&id);
        if known.is_none_or(|&earlier| due < earlier) {
            self.unschedule(id);
            self.scheduled.insert((due, id));
            self.scheduled_at.insert(id, due);
        }
    }

    fn unschedule(&mut self, id: EndpointId) {
        if let Some(due) = self.scheduled_at.remove(&id) {
            self.scheduled.remove(&(due, id));
        }
    }

    /// Drops outdated entries from the front of the queue, so that they cause no wakeups.
    pub fn drop_outdated(&mut self, still_in: impl Fn(Nanos, EndpointId) -> bool) {
        while self
            .entered
            .front()
            .is_some_and(|&(at, id)| !still_in(at, id))
        {
            self.entered.pop_front();
        }
    }

    /// Returns the next endpoint that is due by `now`, and when it entered its state if this is its
    /// first probe.
    pub fn take_due(&mut self, now: Nanos) -> Option<(Option<Nanos>, EndpointId)> {
        if let Some(&(at, id)) = self.entered.front()
            && at + self.after <= now
        {
            self.entered.pop_front();
            self.unschedule(id);
            return Some((Some(at), id));
        }
        let (due, id) = *self.scheduled.first()?;
        (due <= now).then(|| {
            self.unschedule(id);
            (None, id)
        })
    }

    /// Returns the endpoints that are to be probed, each once. `still_in` returns which entries
    /// still matter.
    pub fn ids(
        &self,
        still_in: impl Fn(Nanos, EndpointId) -> bool,
    ) -> impl Iterator<Item = EndpointId> {
        let scheduled = self.scheduled.iter().map(|(_, id)| *id);
        let entered = self
            .entered
            .iter()
            .filter(move |(at, id)| !self.scheduled_at.contains_key(id) && still_in(*at, *id));
        scheduled.chain(entered.map(|(_, id)| *id))
    }

    /// Returns when the next endpoint is due.
    pub fn next_due(&self) -> Option<Nanos> {
        let first = self.entered.front().map(|(at, _)| *at + self.after);
        let scheduled = self.scheduled.first().map(|(due, _)| *due);
        first.into_iter().chain(scheduled).min()
    }

    /// Returns the number of entries of both kinds.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entered.len() + self.scheduled.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Nanos = Nanos::from_secs(60);

    #[test]
    fn endpoints_are_due_in_the_order_of_time() {
        let mut deadlines = Deadlines::new(MINUTE);
        deadlines.add(Nanos::from_secs(10), EndpointId(1), |_, _| true);
        deadlines.probe_at(Nanos::from_secs(65), EndpointId(2));
        assert_eq!(deadlines.next_due(), Some(Nanos::from_secs(65)));
        assert_eq!(deadlines.take_due(Nanos::from_secs(64)), None);
        assert_eq!(
            deadlines.take_due(Nanos::from_secs(65)),
            Some((None, EndpointId(2)))
        );
        assert_eq!(deadlines.next_due(), Some(Nanos::from_secs(70)));
        let first = Some((Some(Nanos::from_secs(10)), EndpointId(1)));
        assert_eq!(deadlines.take_due(Nanos::from_secs(70)), first);
        assert_eq!(deadlines.next_due(), None);
    }

    #[test]
    fn endpoints_that_leave_at_once_take_no_memory() {
        let mut deadlines = Deadlines::new(MINUTE);
        // One stays, and keeps the queue's front.
        let still_in = |_, id| id == EndpointId(0);
        for id in 0..1_000_000 {
            deadlines.add(Nanos(id), EndpointId(id), still_in);
            deadlines.drop_outdated(still_in);
            assert!(deadlines.len() <= MIN_COMPACTION_LEN);
        }
    }
}
