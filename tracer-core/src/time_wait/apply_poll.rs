//! What a sweep has shown, worked through in slices: of a million ends at once it would keep everything else waiting.

use super::TimeWaits;
use super::poll::{Poll, Settling};
use super::timing::QUIET;
use crate::finding::TimeWait;
use crate::types::Nanos;

/// After a sweep that cost t of CPU, none follows for this many times t: sweeps take at most 2 % of a core in each namespace.
const REST: u64 = 50;
/// So much of a sweep's result is worked through at a time: a quarter of a millisecond. Records come meanwhile.
const SLICE: usize = 2048;
/// So many ends are told at a time, 128,000 a second: outputs must write them, beside the closes of the same moment.
const TOLD: usize = 640;
/// After so long comes the next slice: what it tells has to be written, too.
const PAUSE: Nanos = Nanos::from_millis(5);

impl TimeWaits {
    /// Takes the result of a sweep; the ends that it tells are pushed to `told`, by this call or, of a big one, by
    /// [`Self::settle`]. What was not there yet when the sweep was asked for is not missing in it.
    pub fn apply_poll(&mut self, sweep: Poll, told: &mut Vec<TimeWait>) {
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
        let most = told.len() + TOLD;
        while room > 0
            && told.len() < most
            && let Some(mut settling) = self.settling.pop_front()
        {
            self.note(&mut settling, &mut room);
            self.judge(&mut settling, &mut room, told, most);
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
    fn judge(
        &mut self,
        settling: &mut Settling,
        room: &mut usize,
        told: &mut Vec<TimeWait>,
        most: usize,
    ) {
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
        while *unjudged > 0 && *room > 0 && told.len() < most {
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
}
