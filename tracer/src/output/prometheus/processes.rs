//! Which processes have series of their own: no more than fit; all others share theirs.

use std::collections::BTreeMap;

use crate::metrics::{Label, Labels, Metric, Number, Points, ProcessName};
use tcpclose_core::types::Nanos;

/// How long a name stays at 0 before a new one may replace it: ten intervals by default.
const MAX_UNSEEN_AGE: Nanos = Nanos::from_secs(600);

/// The names of processes that have series.
#[derive(Debug, Default)]
pub(super) struct ProcessNames {
    /// When each was last seen in a snapshot.
    last_seen: BTreeMap<ProcessName, Nanos>,
}

impl ProcessNames {
    /// Notes the names that are in a snapshot, the most important first; returns how many of them
    /// have no room.
    pub(super) fn update(&mut self, names: &[ProcessName], at: Nanos, room: usize) -> usize {
        for name in names {
            if let Some(last) = self.last_seen.get_mut(name) {
                *last = at;
            }
        }
        let named = names.iter().filter(|name| **name != ProcessName::Other);
        named
            .filter(|name| !self.has_room_for(name, at, room))
            .count()
    }

    /// Makes room for a name, if there is none by dropping the name that has been at 0 for longest
    /// and long enough.
    fn has_room_for(&mut self, name: &ProcessName, at: Nanos, room: usize) -> bool {
        if !self.last_seen.contains_key(name) && self.last_seen.len() >= room {
            let eldest = self.last_seen.iter().min_by_key(|(_, last)| **last);
            match eldest.map(|(name, last)| (name.clone(), *last)) {
                Some((eldest, last)) if at - last >= MAX_UNSEEN_AGE => {
                    self.last_seen.remove(&eldest);
                }
                _ => return false,
            }
        }
        self.last_seen.insert(name.clone(), at);
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
                    .map(|name| (labels(name), Number::Count(0))),
            );
        }
        for (mut labels, value) in points.drain(..) {
            for label in &mut labels {
                if let Label::Process(name) = label
                    && !self.last_seen.contains_key(name)
                {
                    *name = ProcessName::Other;
                }
            }
            metric.merge_into(&mut named, labels, value);
        }
        *points = named;
    }
}

fn labels(name: &ProcessName) -> Labels {
    vec![Label::Process(name.clone())]
}
