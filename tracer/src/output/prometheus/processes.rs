//! Series with the names of processes: no more of them than fit, and all others together.

use std::collections::BTreeMap;

use super::family::Families;
use super::{Exporter, SERIES_OF_PROCESS, seconds};
use crate::lifecycle::summary::{StuckNow, StuckOwner};
use crate::lifecycle::types::Nanos;
use crate::output::escape::push_for_terminal;

/// What stands for all processes that have no series of their own.
const OTHERS: &str = "other";

/// A name stays at 0 for so long before a new one may have its place: ten intervals by default.
const REMEMBERED: Nanos = Nanos::from_secs(600);

impl Exporter {
    /// Series with the names of processes. Those that do not fit, and have no name, are others.
    pub(super) fn processes_of(
        &mut self,
        families: &mut Families,
        stuck: &StuckNow,
        at: Nanos,
        room: usize,
    ) {
        let mut named: BTreeMap<String, Named> = BTreeMap::new();
        let mut others = Named::default();
        let owners = stuck.owners.iter().map(|owner| {
            let mut name = String::new();
            push_for_terminal(&mut name, &owner.process.comm);
            (name, owner)
        });
        let owners: Vec<(String, &StuckOwner)> = owners.collect();
        for (name, _) in &owners {
            if let Some(last) = self.processes.get_mut(name) {
                *last = at;
            }
        }
        for (name, owner) in owners {
            let named = match self.has_room_for(&name, at, room) {
                true => named.entry(name).or_default(),
                false => &mut others,
            };
            named.add(owner);
        }
        for name in self.processes.keys() {
            named.entry(name.clone()).or_default();
        }
        let told: u64 = named.values().map(|named| named.stuck).sum();
        others.stuck = stuck.total().saturating_sub(told);
        named.insert(OTHERS.to_owned(), others);
        let labels: Vec<[(&str, &str); 1]> =
            named.keys().map(|name| [("process", &**name)]).collect();
        let each = || labels.iter().map(<[_; 1]>::as_slice).zip(named.values());
        families.gauge(
            "tcpclose_process_close_wait_stuck",
            "Sockets stuck in CLOSE_WAIT, by the name of the process, of the ten with most and the five that run out of descriptors soonest; all others are other.",
            each().map(|(labels, named)| (labels, named.stuck as f64)),
        );
        families.gauge(
            "tcpclose_process_descriptors_exhausted_seconds",
            "Time until stuck sockets take the last descriptor of a process of this name, at the rate of the last intervals.",
            each().filter_map(|(labels, named)| Some((labels, seconds(named.exhausted_in?)))),
        );
    }

    /// Whether a process that has stuck sockets now can have series. For a new one the name goes that is at 0 for longest,
    /// if that is long enough.
    fn has_room_for(&mut self, name: &str, at: Nanos, room: usize) -> bool {
        if name == OTHERS {
            return false;
        }
        if !self.processes.contains_key(name) && self.processes.len() >= room {
            let eldest = self.processes.iter().min_by_key(|(_, last)| **last);
            match eldest.map(|(name, last)| (name.clone(), *last)) {
                Some((eldest, last)) if at - last >= REMEMBERED => {
                    self.processes.remove(&eldest);
                }
                _ => {
                    self.dropped += SERIES_OF_PROCESS as u64;
                    return false;
                }
            }
        }
        self.processes.insert(name.to_owned(), at);
        true
    }
}

/// What is told of the processes of one name.
#[derive(Debug, Default)]
struct Named {
    stuck: u64,
    exhausted_in: Option<Nanos>,
}

impl Named {
    fn add(&mut self, owner: &StuckOwner) {
        self.stuck += owner.stuck;
        let both = [self.exhausted_in, owner.exhausted_in()];
        self.exhausted_in = both.into_iter().flatten().min();
    }
}
