//! Applies the result of a poll in slices: a million endpoints at once would delay everything else.

use super::TimeWaits;
use super::poll::{PendingPoll, Poll};
use super::timing::QUIET;
use crate::finding::TimeWait;
use crate::types::Nanos;

/// The next poll follows after this many times the CPU time of the last one, so that polls take at
/// most 2 % of a core in each namespace.
const REST: u64 = 50;
/// The number of entries that are applied at a time, which takes a quarter of a millisecond.
const SLICE: usize = 2048;
/// The number of ends that are reported at a time: 128,000 per second, which outputs must write
/// beside the closes of that time.
const REPORTED: usize = 640;
/// The time between two slices, in which outputs write the reported ends.
const PAUSE: Nanos = Nanos::from_millis(5);

impl TimeWaits {
    /// Takes the result of a poll. Pushes the TIME_WAITs that ended to `ended`, in this call or,
    /// for a large result, in [`Self::continue_polls`]. Entries that were added after the poll was
    /// requested are not affected.
    pub fn apply_poll(&mut self, poll: Poll, ended: &mut Vec<TimeWait>) {
        if let Some(namespace) = self.namespaces.get_mut(&poll.netns)
            && namespace.next.is_some()
        {
            namespace.begin_poll();
        }
        let now = poll.ended;
        self.pending.push_back(PendingPoll {
            poll,
            noted: 0,
            unjudged: None,
            next: None,
        });
        self.continue_polls(now, ended);
    }

    /// Continues to apply the results of polls.
    pub fn continue_polls(&mut self, now: Nanos, ended: &mut Vec<TimeWait>) {
        if self.pending.is_empty() || now < self.next_slice {
            return;
        }
        self.next_slice = now + PAUSE;
        let mut room = SLICE;
        let most = ended.len() + REPORTED;
        while room > 0
            && ended.len() < most
            && let Some(mut pending) = self.pending.pop_front()
        {
            self.note(&mut pending, &mut room);
            self.judge(&mut pending, &mut room, ended, most);
            if pending.unjudged == Some(0) {
                self.finish_poll(&pending);
            } else {
                self.pending.push_front(pending);
            }
        }
    }

    /// Notes the entries that were found.
    fn note(&mut self, pending: &mut PendingPoll, room: &mut usize) {
        let PendingPoll { poll, noted, .. } = pending;
        let found = poll.found[*noted..].iter().take(*room);
        *room -= found.len();
        *noted += found.len();
        for minisocket in found {
            if let Some(at) = self.find(poll.netns, &minisocket.tuple)
                && let Some(entry) = self.entries.get_mut(at)
                && entry
                    .cookie
                    .is_none_or(|cookie| cookie == minisocket.cookie)
            {
                entry.seen(poll, minisocket.left);
            }
        }
        if *noted == poll.found.len() && pending.unjudged.is_none() {
            let namespace = self.namespaces.get(&poll.netns);
            pending.unjudged = Some(namespace.map_or(0, |namespace| namespace.entries));
        }
    }

    /// Judges the entries that were not found and may have ended. Each judged entry becomes the
    /// newest of its order.
    fn judge(
        &mut self,
        pending: &mut PendingPoll,
        room: &mut usize,
        ended: &mut Vec<TimeWait>,
        most: usize,
    ) {
        let PendingPoll {
            poll,
            unjudged: Some(unjudged),
            next,
            ..
        } = pending
        else {
            return;
        };
        let covers_all = poll.complete || !poll.reached;
        while *unjudged > 0 && *room > 0 && ended.len() < most {
            let Some(namespace) = self.namespaces.get_mut(&poll.netns) else {
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
            // Added since the poll was requested.
            if entry.poll_number == namespace.poll_number {
                continue;
            }
            entry.poll_number = namespace.poll_number;
            let unseen = covers_all && entry.last_seen < poll.began;
            let over = match poll.reached {
                _ if !unseen => None,
                true => entry.missing(poll.ended, &mut poll.overflows),
                false => entry.over_out_of_sight(poll.ended),
            };
            let due = entry.next_poll(poll.ended);
            match over {
                Some(over) => {
                    self.remove(at);
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
        namespace.not_before = poll.ended + Nanos(poll.cost.0.saturating_mul(REST));
        let next_poll = pending.next.into_iter().chain(namespace.meanwhile.take());
        let next_poll = match next_poll.min() {
            Some(next_poll) if poll.reached => next_poll,
            _ => poll.ended + QUIET,
        };
        namespace.next = Some(next_poll.max(namespace.not_before));
    }
}
