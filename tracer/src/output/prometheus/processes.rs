//! Series with the names of processes: no more of them than fit, and all others together.

use std::collections::BTreeMap;

use crate::metrics::{Label, Labels, Metric, Number, Points, ProcessTitle};
use tcpclose_core::types::Nanos;

/// A name stays at 0 for so long before a new one may have its place: ten intervals by default.
const REMEMBERED: Nanos = Nanos::from_secs(600);

/// The names of processes that have series. None goes as soon as it is at 0.
#[derive(Debug, Default)]
pub(super) struct ProcessNames {
    /// With when each had something last.
    last: BTreeMap<ProcessTitle, Nanos>,
}

impl ProcessNames {
    /// Takes the names that have something now; returns how many of them have no room. Those that come first find room
    /// first.
    pub(super) fn update(&mut self, titles: &[ProcessTitle], at: Nanos, room: usize) -> usize {
        for title in titles {
            if let Some(last) = self.last.get_mut(title) {
                *last = at;
            }
        }
        let named = titles.iter().filter(|title| **title != ProcessTitle::Other);
        named
            .filter(|title| !self.has_room_for(title, at, room))
            .count()
    }

    /// For a new name that one goes that is at 0 for longest, if that is long enough.
    fn has_room_for(&mut self, title: &ProcessTitle, at: Nanos, room: usize) -> bool {
        if !self.last.contains_key(title) && self.last.len() >= room {
            let eldest = self.last.iter().min_by_key(|(_, last)| **last);
            match eldest.map(|(title, last)| (title.clone(), *last)) {
                Some((eldest, last)) if at - last >= REMEMBERED => {
                    self.last.remove(&eldest);
                }
                _ => return false,
            }
        }
        self.last.insert(title.clone(), at);
        true
    }

    /// Makes the names that have no room others, and lets counts of those that have nothing now go on at 0.
    pub(super) fn apply(&self, metric: &Metric, points: &mut Points<Number>) {
        let mut named = Points::new();
        if points
            .iter()
            .any(|(_, value)| matches!(value, Number::Count(_)))
        {
            named.extend(
                self.last
                    .keys()
                    .map(|title| (labels(title), Number::Count(0))),
            );
        }
        for (mut labels, value) in points.drain(..) {
            for label in &mut labels {
                if let Label::Process(title) = label
                    && !self.last.contains_key(title)
                {
                    *title = ProcessTitle::Other;
                }
            }
            metric.merge_into(&mut named, labels, value);
        }
        *points = named;
    }
}

fn labels(title: &ProcessTitle) -> Labels {
    vec![Label::Process(title.clone())]
}
