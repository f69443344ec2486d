//! Applies the result of a poll in slices: a million endpoints at once would delay everything else.

use super::TimeWaits;
use super::poll::{PendingPoll, PollResponse};
use super::timing::POLL_INTERVAL;
use crate::finding::TimeWait;
use crate::types::Nanos;

/// The next poll follows after this many times the CPU time of the last one, so that polls take at
/// most 2 % of a core in each namespace.
const POLL_PAUSE_FACTOR: u64 = 50;
/// The number of entries that are applied at a time, which takes a quarter of a millisecond.
const MAX_CHECKED_PER_STEP: usize = 2048;
/// The number of ends that are reported at a time: 128,000 per second, which outputs must write
/// beside the closes of that time.
const MAX_REPORTED_PER_STEP: usize = 640;
/// The time between two slices, in which outputs write the reported ends.
const STEP_INTERVAL: Nanos = Nanos::from_millis(5);

impl TimeWaits {
    /// Takes the result of a poll. Pushes the TIME_WAITs that ended to `ended`, in this call or,
    /// for a large result, in [`Self::continue_polls`]. Entries that were added after the poll was
    /// requested are not affected.
    pub fn apply_poll(&mut self, poll: PollResponse, ended: &mut Vec<TimeWait>) {
        if let Some(namespace) = self.namespaces.get_mut(&poll.netns)
            && namespace.next.is_some()
        {
            namespace.begin_poll();
        }
        let now = poll.ended;
        self.pending.push_back(PendingPoll {
            poll,
            marked: 0,
            unchecked: None,
            next: None,
        });
        self.continue_polls(now, ended);
    }

    /// Continues to apply the results of polls.
    pub fn continue_polls(&mut self, now: Nanos, ended: &mut Vec<TimeWait>) {
        if self.pending.is_empty() || now < self.next_slice {
            return;
        }
        self.next_slice = now + STEP_INTERVAL;
        let mut room = MAX_CHECKED_PER_STEP;
        let most = ended.len() + MAX_REPORTED_PER_STEP;
        while room > 0
            && ended.len() < most
            && let Some(mut pending) = self.pending.pop_front()
        {
            self.mark_found(&mut pending, &mut room);
            self.check_missing(&mut pending, &mut room, ended, most);
            if pending.unchecked == Some(0) {
                self.finish_poll(&pending);
            } else {
                self.pending.push_front(pending);
            }
        }
    }

    /// Notes the entries that were found.
    fn mark_found(&mut self, pending: &mut PendingPoll, room: &mut usize) {
        let PendingPoll { poll, marked, .. } = pending;
        let found = poll.found[*marked..].iter().take(*room);
        *room -= found.len();
        *marked += found.len();
        for minisocket in found {
            if let Some(slot) = self.find(poll.netns, &minisocket.tuple)
                && let Some(entry) = self.entries.get_mut(slot)
                && entry
                    .cookie
                    .is_none_or(|cookie| cookie == minisocket.cookie)
            {
                entry.note_found(poll, minisocket.left);
            }
        }
        if *marked == poll.found.len() && pending.unchecked.is_none() {
            let namespace = self.namespaces.get(&poll.netns);
            pending.unchecked = Some(namespace.map_or(0, |namespace| namespace.entries));
        }
    }

    /// Judges the entries that were not found and may have ended. Each judged entry becomes the
    /// newest of its order.
    fn check_missing(
        &mut self,
        pending: &mut PendingPoll,
        room: &mut usize,
        ended: &mut Vec<TimeWait>,
        most: usize,
    ) {
        let PendingPoll {
            poll,
            unchecked: Some(unchecked),
            next,
            ..
        } = pending
        else {
            return;
        };
        let covers_all = poll.complete || !poll.reached;
        while *unchecked > 0 && *room > 0 && ended.len() < most {
            let Some(namespace) = self.namespaces.get_mut(&poll.netns) else {
                *unchecked = 0;
                return;
            };
            let Some(slot) = self.entries.oldest(&namespace.order) else {
                *unchecked = 0;
                return;
            };
            (*unchecked, *room) = (*unchecked - 1, *room - 1);
            self.entries.renew(&mut namespace.order, slot);
            let Some(entry) = self.entries.get_mut(slot) else {
                continue;
            };
            // Added since the poll was requested.
            if entry.poll_number == namespace.poll_number {
                continue;
            }
            entry.poll_number = namespace.poll_number;
            let unseen = covers_all && entry.last_seen < poll.began;
            let over = if !unseen {
                None
            } else if poll.reached {
                entry.end_on_absence(poll.ended, &mut poll.overflows)
            } else {
                entry.end_in_unreachable_namespace(poll.ended)
            };
            let due = entry.next_poll(poll.ended);
            match over {
                Some(over) => {
                    self.remove(slot);
                    ended.push(over);
                }
                None => *next = Some(next.map_or(due, |next| next.min(due))),
            }
        }
    }

    /// Sets when the next poll is due, once all of a poll's result is applied.
    fn finish_poll(&mut self, pending: &PendingPoll) {
        let poll = &pending.poll;
        let Some(namespace) = self.namespaces.get_mut(&poll.netns) else {
            return;
        };
        if namespace.entries == 0 {
            self.namespaces.remove(&poll.netns);
            return;
        }
        namespace.not_before = poll.ended + Nanos(poll.cost.0.saturating_mul(POLL_PAUSE_FACTOR));
        let next_poll = pending.next.into_iter().chain(namespace.meanwhile.take());
        let next_poll = match next_poll.min() {
            Some(next_poll) if poll.reached => next_poll,
            _ => poll.ended + POLL_INTERVAL,
        };
        namespace.next = Some(next_poll.max(namespace.not_before));
    }
}
