//! When each end in CLOSE_WAIT is to be looked at.

use std::collections::{BTreeSet, VecDeque};

use foldhash::{HashMap, HashMapExt as _};

use crate::types::{EndpointId, Nanos};

/// Entries below which nothing is tidied up.
const SMALL: usize = 4096;

/// Ends that entered CLOSE_WAIT, in the order of time, and those that are to be looked at again. Most leave CLOSE_WAIT at
/// once and stay in the queue for nothing; it is cleared of them whenever it has doubled, so it holds at most twice as many
/// entries as there are ends in CLOSE_WAIT.
#[derive(Debug)]
pub(crate) struct Deadlines {
    after: Nanos,
    entered: VecDeque<(Nanos, EndpointId)>,
    again: BTreeSet<(Nanos, EndpointId)>,
    /// When each of those is due: an end is looked at once, however many have wished for it.
    again_at: HashMap<EndpointId, Nanos>,
    tidy_at: usize,
}

impl Deadlines {
    /// An end is due when it has been in CLOSE_WAIT for that long.
    pub fn new(after: Nanos) -> Self {
        Self {
            after,
            entered: VecDeque::new(),
            again: BTreeSet::new(),
            again_at: HashMap::new(),
            tidy_at: SMALL,
        }
    }

    /// An end enters CLOSE_WAIT. `waits` tells which entries still matter.
    pub fn entered(
        &mut self,
        at: Nanos,
        id: EndpointId,
        waits: impl Fn(Nanos, EndpointId) -> bool,
    ) {
        if self.entered.len() >= self.tidy_at {
            self.entered.retain(|&(at, id)| waits(at, id));
            self.tidy_at = SMALL.max(2 * self.entered.len());
        }
        self.entered.push_back((at, id));
    }

    /// An end is to be looked at at this time, or earlier where somebody wants that.
    pub fn look_at(&mut self, due: Nanos, id: EndpointId) {
        if self.again_at.get(&id).is_none_or(|&earlier| due < earlier) {
            self.forget_again(id);
            self.again.insert((due, id));
            self.again_at.insert(id, due);
        }
    }

    fn forget_again(&mut self, id: EndpointId) {
        if let Some(due) = self.again_at.remove(&id) {
            self.again.remove(&(due, id));
        }
    }

    /// Drops what does not matter any more from the queue's front, so that nobody wakes up for it.
    pub fn pass(&mut self, waits: impl Fn(Nanos, EndpointId) -> bool) {
        while self.entered.front().is_some_and(|&(at, id)| !waits(at, id)) {
            self.entered.pop_front();
        }
    }

    /// The next end that is due by `now`, and when it entered CLOSE_WAIT if it is the first time.
    pub fn take_due(&mut self, now: Nanos) -> Option<(Option<Nanos>, EndpointId)> {
        if let Some(&(at, id)) = self.entered.front()
            && at + self.after <= now
        {
            self.entered.pop_front();
            self.forget_again(id);
            return Some((Some(at), id));
        }
        let (due, id) = *self.again.first()?;
        (due <= now).then(|| {
            self.forget_again(id);
            (None, id)
        })
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Nanos> {
        let first = self.entered.front().map(|(at, _)| *at + self.after);
        let again = self.again.first().map(|(due, _)| *due);
        first.into_iter().chain(again).min()
    }

    /// Entries of both kinds.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entered.len() + self.again.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Nanos = Nanos::from_secs(60);

    #[test]
    fn ends_are_due_in_the_order_of_time() {
        let mut deadlines = Deadlines::new(MINUTE);
        deadlines.entered(Nanos::from_secs(10), EndpointId(1), |_, _| true);
        deadlines.look_at(Nanos::from_secs(65), EndpointId(2));
        assert_eq!(deadlines.next(), Some(Nanos::from_secs(65)));
        assert_eq!(deadlines.take_due(Nanos::from_secs(64)), None);
        assert_eq!(
            deadlines.take_due(Nanos::from_secs(65)),
            Some((None, EndpointId(2)))
        );
        assert_eq!(deadlines.next(), Some(Nanos::from_secs(70)));
        let first = Some((Some(Nanos::from_secs(10)), EndpointId(1)));
        assert_eq!(deadlines.take_due(Nanos::from_secs(70)), first);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn ends_that_leave_at_once_take_no_memory() {
        let mut deadlines = Deadlines::new(MINUTE);
        // One stays, and keeps the queue's front.
        let waits = |_, id| id == EndpointId(0);
        for id in 0..1_000_000 {
            deadlines.entered(Nanos(id), EndpointId(id), waits);
            deadlines.pass(waits);
            assert!(deadlines.len() <= SMALL);
        }
    }
}
