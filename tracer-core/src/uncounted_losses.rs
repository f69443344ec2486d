//! Transitions that are missing although nothing counted their loss: there are kernels that run no
//! eBPF program while certain tasks are on the CPU. What is missing shows later: the transitions of
//! an endpoint do not join, or it is gone without its last ones.

use super::finding::{Loss, LossLocation};
use super::types::Nanos;

/// How long to wait for the count of what is missing: counters are read once a second, and a loss
/// is reported after its resync.
const COUNT_DELAY: Nanos = Nanos::from_secs(3);

/// How much later than a loss its effects show. An endpoint that lives on is probed at least once a
/// minute.
const MAX_EFFECT_DELAY: Nanos = Nanos::from_secs(120);

/// The missing transitions, compared with the losses that were reported.
#[derive(Debug, Default)]
pub(super) struct UncountedLosses {
    /// Missing transitions that no loss explains so far, and when the first of them showed.
    missing: Option<(Nanos, u64)>,
    /// Losses whose effects have not shown, and when the last of them was reported.
    unseen: (Nanos, u64),
    /// What was handed over to be reported as a loss.
    handed_over: u64,
}

impl UncountedLosses {
    /// Notes that at least so many transitions of an endpoint are missing.
    pub fn note_missing(&mut self, transitions: u64, now: Nanos) {
        let (reported, unseen) = self.unseen;
        let unseen = if now - reported <= MAX_EFFECT_DELAY {
            unseen
        } else {
            0
        };
        let explained = unseen.min(transitions);
        self.unseen = (reported, unseen - explained);
        let unexplained = transitions - explained;
        if unexplained > 0 {
            let (since, missing) = self.missing.unwrap_or((now, 0));
            self.missing = Some((since, missing + unexplained));
        }
    }

    /// Notes a loss, which explains what is missing and what will be found missing.
    pub fn note_loss(&mut self, loss: &Loss) {
        match loss.location {
            LossLocation::Ring
            | LossLocation::Program
            | LossLocation::Decode
            | LossLocation::Recording => {}
            LossLocation::Table
            | LossLocation::Output
            | LossLocation::Probe
            | LossLocation::Restart => return,
        }
        let own = loss.lost.min(self.handed_over);
        self.handed_over -= own;
        let counted = loss.lost - own;
        let (since, missing) = self.missing.unwrap_or_default();
        let explained = counted.min(missing);
        self.missing = (missing > explained).then_some((since, missing - explained));
        self.unseen = (loss.at, self.unseen.1.saturating_add(counted - explained));
    }

    /// Returns when [`Self::take`] next returns something.
    pub fn next_due(&self) -> Option<Nanos> {
        self.missing.map(|(since, _)| since + COUNT_DELAY)
    }

    /// Hands over the number of transitions that are missing and not counted by `now`.
    pub fn take(&mut self, now: Nanos) -> u64 {
        if self.next_due().is_none_or(|due| due > now) {
            return 0;
        }
        let (_, missing) = self.missing.take().unwrap_or_default();
        self.handed_over += missing;
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(lost: u64, location: LossLocation, at: Nanos) -> Loss {
        Loss {
            at,
            lost,
            location,
            repaired: false,
            duration: None,
        }
    }

    const BEGAN: Nanos = Nanos::from_secs(1000);
    const LATER: Nanos = Nanos::from_secs(1003);

    #[test]
    fn what_a_loss_explains_is_not_reported_again_whichever_comes_first() {
        for loss_first in [true, false] {
            let mut losses = UncountedLosses::default();
            let counted = loss(3, LossLocation::Program, BEGAN);
            if loss_first {
                losses.note_loss(&counted);
            }
            losses.note_missing(2, BEGAN);
            losses.note_missing(2, BEGAN);
            if !loss_first {
                losses.note_loss(&counted);
            }
            assert_eq!(losses.take(LATER), 1);
            assert_eq!(losses.take(LATER), 0, "once");
            losses.note_loss(&loss(1, LossLocation::Program, LATER));
            losses.note_missing(1, LATER);
            let reported_as_a_loss_of_its_own = LATER + COUNT_DELAY;
            assert_eq!(losses.take(reported_as_a_loss_of_its_own), 1);
        }
    }

    #[test]
    fn the_count_may_follow() {
        let mut losses = UncountedLosses::default();
        losses.note_missing(1, BEGAN);
        assert_eq!(losses.take(LATER - Nanos(1)), 0);
        assert_eq!(losses.next_due(), Some(LATER));
        losses.note_loss(&loss(1, LossLocation::Ring, BEGAN));
        assert_eq!((losses.next_due(), losses.take(LATER)), (None, 0));
    }

    #[test]
    fn an_old_loss_and_one_of_other_things_explain_nothing() {
        let mut losses = UncountedLosses::default();
        losses.note_loss(&loss(9, LossLocation::Ring, BEGAN));
        losses.note_loss(&loss(9, LossLocation::Table, LATER));
        let much_later = BEGAN + MAX_EFFECT_DELAY + Nanos(1);
        losses.note_missing(1, much_later);
        assert_eq!(losses.take(much_later + COUNT_DELAY), 1);
    }
}
