//! Which processes have series of their own: no more than fit; all others share theirs.

use std::collections::BTreeMap;

use crate::metrics::{Label, Labels, Metric, Number, Points, ProcessTitle};
use tcpclose_core::types::Nanos;

/// How long a name stays at 0 before a new one may replace it: ten intervals by default.
const REMEMBERED: Nanos = Nanos::from_secs(600);

/// The names of processes that have series.
#[derive(Debug, Default)]
pub(super) struct ProcessNames {
    /// When each was last seen in a snapshot.
    last_seen: BTreeMap<ProcessTitle, Nanos>,
}

impl ProcessNames {
    /// Notes the names that are in a snapshot, the most important first; returns how many of them
    /// have no room.
    pub(super) fn update(&mut self, titles: &[ProcessTitle], at: Nanos, room: usize) -> usize {
        for title in titles {
            if let Some(last) = self.last_seen.get_mut(title) {
                *last = at;
            }
        }
        let named = titles.iter().filter(|title| **title != ProcessTitle::Other);
        named
            .filter(|title| !self.has_room_for(title, at, room))
            .count()
    }

    /// Makes room for a name, if there is none by dropping the name that has been at 0 for longest
    /// and long enough.
    fn has_room_for(&mut self, title: &ProcessTitle, at: Nanos, room: usize) -> bool {
        if !self.last_seen.contains_key(title) && self.last_seen.len() >= room {
            let eldest = self.last_seen.iter().min_by_key(|(_, last)| **last);
            match eldest.map(|(title, last)| (title.clone(), *last)) {
                Some((eldest, last)) if at - last >= REMEMBERED => {
                    self.last_seen.remove(&eldest);
                }
                _ => return false,
            }
        }
        self.last_seen.insert(title.clone(), at);
        true
    }

    /// Merges the points of names that have no room, and adds counts of 0 for names that are not in
    /// the snapshot.
    pub(super) fn apply(&self, metric: &Metric, points: &mut Points<Number>) {
        let mut named = Points::new();
        if points
            .iter()
            .any(|(_, value)| matches!(value, Number::Count(_)))
        {
            named.extend(
                self.last_seen
                    .keys()
                    .map(|title| (labels(title), Number::Count(0))),
            );
        }
        for (mut labels, value) in points.drain(..) {
            for label in &mut labels {
                if let Label::Process(title) = label
                    && !self.last_seen.contains_key(title)
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
