//! The result of a poll, applied in slices: a million endpoints at once would keep everything else
//! waiting.

use super::TimeWaits;
use super::poll::{PendingPoll, Poll};
use super::timing::QUIET;
use crate::finding::TimeWait;
use crate::types::Nanos;

/// After a poll that cost t of CPU, none follows for this many times t: polls take at most 2 % of a
/// core in each namespace.
const REST: u64 = 50;
/// This much of a poll's result is applied at a time: a quarter of a millisecond. Records come
/// meanwhile.
const SLICE: usize = 2048;
/// This many ends are reported at a time, 128,000 a second: outputs must write them, beside the
/// closes of that time.
const REPORTED: usize = 640;
/// The next slice comes after this time: what it reports has to be written, too.
const PAUSE: Nanos = Nanos::from_millis(5);

impl TimeWaits {
    /// Takes the result of a poll; the TIME_WAITs that ended are pushed to `ended`, by this call
    /// or, of a big one, by [`Self::continue_polls`]. What was not there yet when the poll was
    /// requested is not missing in it.
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

    /// Goes on applying the results of polls.
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

    /// Those that were found exist.
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

    /// Those that were not may have ended. Each entry that is judged becomes the newest of its
    /// order.
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

    /// All of a poll's result is applied: sets when the next one is due.
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
        let wanted = pending.next.into_iter().chain(namespace.meanwhile.take());
        let wanted = match wanted.min() {
            Some(wanted) if poll.reached => wanted,
            _ => poll.ended + QUIET,
        };
        namespace.next = Some(wanted.max(namespace.not_before));
    }
}
