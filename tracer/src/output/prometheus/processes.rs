//! Series with the names of processes: no more of them than fit, and all others together.

use std::collections::BTreeMap;

use super::family::Families;
use super::{Exporter, SERIES_OF_PROCESS, Snapshot, seconds};
use crate::output::escape::push_for_terminal;
use tcpclose_core::summary::{Ranking, Service, StuckNow, StuckOwner};
use tcpclose_core::types::Nanos;

/// What stands for all processes that have no series of their own.
const OTHERS: &str = "other";

/// A name stays at 0 for so long before a new one may have its place: ten intervals by default.
const REMEMBERED: Nanos = Nanos::from_secs(600);

/// The processes with most closes and resets in an interval.
#[derive(Clone, Debug, Default)]
pub struct Busiest {
    /// By closes.
    pub closes: Ranking<Option<Service>>,
    /// By resets.
    pub resets: Ranking<Option<Service>>,
}

impl Exporter {
    /// Series with the names of processes. Those that do not fit, and have no name, are others.
    pub(super) fn processes_of(
        &mut self,
        families: &mut Families,
        snapshot: &Snapshot,
        room: usize,
    ) {
        let Snapshot {
            at, stuck, busiest, ..
        } = snapshot;
        let owners = stuck.iter().flat_map(|stuck| &stuck.owners);
        let owners = owners.map(|owner| (name(&owner.process.comm), Named::stuck(owner)));
        let Busiest { closes, resets } = busiest;
        let closing = of(closes, |named, count| named.closes = count);
        let resetting = of(resets, |named, count| named.resets = count);
        // Each name once, in the order in which they are to find room.
        let mut facts: Vec<(String, Named)> = Vec::new();
        for (name, more) in owners.chain(closing).chain(resetting) {
            match facts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, facts)) => facts.add(&more),
                None => facts.push((name, more)),
            }
        }
        for (name, _) in &facts {
            if let Some(last) = self.processes.get_mut(name) {
                *last = *at;
            }
        }
        let mut named: BTreeMap<String, Named> = BTreeMap::new();
        let mut others = Named::default();
        for (name, facts) in facts {
            let named = match self.has_room_for(&name, *at, room) {
                true => named.entry(name).or_default(),
                false => &mut others,
            };
            named.add(&facts);
        }
        for name in self.processes.keys() {
            named.entry(name.clone()).or_default();
        }
        let told = |what: fn(&Named) -> u64| named.values().map(what).sum::<u64>();
        let total = stuck.as_ref().map_or(0, StuckNow::total);
        others.stuck = total.saturating_sub(told(|named| named.stuck));
        others.closes = closes.total().saturating_sub(told(|named| named.closes));
        others.resets = resets.total().saturating_sub(told(|named| named.resets));
        named.insert(OTHERS.to_owned(), others);
        let labels: Vec<[(&str, &str); 1]> =
            named.keys().map(|name| [("process", &**name)]).collect();
        let each = || labels.iter().map(<[_; 1]>::as_slice).zip(named.values());
        families.gauge(
            "tcpclose_process_closes",
            "Connection ends that closed in the last interval, by the name of the process, of the ten with most; all others are other.",
            each().map(|(labels, named)| (labels, named.closes as f64)),
        );
        families.gauge(
            "tcpclose_process_resets",
            "Resets among them, of the ten processes with most.",
            each().map(|(labels, named)| (labels, named.resets as f64)),
        );
        if stuck.is_none() {
            return;
        }
        families.gauge(
            "tcpclose_process_close_wait_stuck",
            "Sockets stuck in CLOSE_WAIT, by the name of the process, of the ten with most and the five that run out of descriptors soonest; all others are other.",
            each().map(|(labels, named)| (labels, named.stuck as f64)),
        );
        families.gauge(
            "tcpclose_process_close_wait_growth_per_second",
            "How fast the stuck sockets of processes of this name grow, by a line through the last intervals.",
            each().filter_map(|(labels, named)| Some((labels, named.growth?))),
        );
        families.gauge(
            "tcpclose_process_descriptors_exhausted_seconds",
            "Time until stuck sockets take the last descriptor of a process of this name, at the rate of the last intervals.",
            each().filter_map(|(labels, named)| Some((labels, seconds(named.exhausted_in?)))),
        );
    }

    /// Whether a process that has something to tell now can have series. For a new one the name goes that is at 0 for longest,
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
    growth: Option<f64>,
    exhausted_in: Option<Nanos>,
    closes: u64,
    resets: u64,
}

impl Named {
    fn stuck(owner: &StuckOwner) -> Self {
        Self {
            stuck: owner.stuck,
            growth: owner.forecast.map(|forecast| forecast.fit.per_second),
            exhausted_in: owner.exhausted_in(),
            ..Self::default()
        }
    }

    fn add(&mut self, other: &Self) {
        self.stuck += other.stuck;
        self.closes += other.closes;
        self.resets += other.resets;
        let growths = [self.growth, other.growth];
        self.growth = growths.into_iter().flatten().reduce(|a, b| a + b);
        let both = [self.exhausted_in, other.exhausted_in];
        self.exhausted_in = both.into_iter().flatten().min();
    }
}

/// As labels have it.
fn name(comm: &[u8]) -> String {
    let mut name = String::new();
    push_for_terminal(&mut name, comm);
    name
}

/// The processes of a ranking that are known.
fn of(
    ranking: &Ranking<Option<Service>>,
    set: impl Fn(&mut Named, u64),
) -> impl Iterator<Item = (String, Named)> {
    ranking.most.iter().filter_map(move |(service, count)| {
        let mut named = Named::default();
        set(&mut named, *count);
        Some((name(&service.as_ref()?.0.comm), named))
    })
}
