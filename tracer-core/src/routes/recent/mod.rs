//! What recent closes have shown of routes that a scan cannot see: which end closes first, how long
//! connections live, and which connects found no port.

#[cfg(test)]
mod tests;

use foldhash::{HashMap, HashMapExt as _};
use serde::{Deserialize, Serialize};

use crate::finding::{Cause, Close, Initiator};
use crate::summary::Route;
use crate::types::{Nanos, Role, SharedOwner};

/// The most routes of one span. More of them make it shorter.
const MAX_ROUTES: usize = 1_024;
/// How long a span is. Two of them are known: the present one, and the one before.
const SPAN: Nanos = Nanos::from_secs(60);
/// How many lifetimes are kept of a route: the newest.
const MAX_LIFETIMES: usize = 32;
/// The most processes of a route that are named whose connects have failed.
const MAX_PROCESSES: usize = 5;

/// The routes of connections that closed within the last one to two minutes, as this host opened
/// them.
#[derive(Debug, Default)]
pub struct RecentRoutes {
    present: Span,
    before: Span,
}

#[derive(Debug, Default)]
struct Span {
    begun: Nanos,
    routes: HashMap<Route, Tally>,
}

/// What the closes of one route have shown.
#[derive(Clone, Debug)]
struct Tally {
    closed_here: u64,
    closed_by_peer: u64,
    lifetimes: [Nanos; MAX_LIFETIMES],
    /// How many lifetimes there were; the newest have overwritten the oldest.
    lifetimes_seen: u64,
    failures: Option<Failures>,
}

#[derive(Clone, Debug)]
struct Failures {
    count: u64,
    first: Nanos,
    last: Nanos,
    processes: Vec<(SharedOwner, u64)>,
}

/// What recent closes have shown of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteHistory {
    /// Since when closes were counted, at least.
    pub since: Nanos,
    /// Connections that this host closed first.
    pub closed_here: u64,
    /// Connections that the peer closed first.
    pub closed_by_peer: u64,
    /// The median of the lifetimes of the connections that closed last, at most 32.
    pub lifetime: Option<Nanos>,
    /// Connects that found no local port.
    pub failed: u64,
    /// When connects began to fail: for a minute before that, none had.
    pub failing_since: Option<Nanos>,
    /// When the last of them failed.
    pub failed_at: Option<Nanos>,
    /// The processes whose connects have failed, and how many; at most five.
    pub failed_of: Vec<(SharedOwner, u64)>,
}

impl RouteHistory {
    /// Returns the end that closed first, where it was the same one for most connections (nine of
    /// ten).
    #[must_use]
    pub fn closes_first(&self) -> Option<Initiator> {
        let (here, peer) = (self.closed_here, self.closed_by_peer);
        match here + peer {
            0 => None,
            all if here * 10 >= all * 9 => Some(Initiator::Local),
            all if peer * 10 >= all * 9 => Some(Initiator::Peer),
            _ => Some(Initiator::Both),
        }
    }
}

impl RecentRoutes {
    /// Begins to count at this time.
    #[must_use]
    pub fn new(begun: Nanos) -> Self {
        let span = || Span {
            begun,
            routes: HashMap::new(),
        };
        Self {
            present: span(),
            before: span(),
        }
    }

    /// Counts a close. Only connections that this host opened have a port of a route.
    pub fn add(&mut self, close: &Close) {
        let endpoint = &close.endpoint;
        if endpoint.role != Role::Client || endpoint.tuple.is_self_test() {
            return;
        }
        self.advance_to(close.at);
        let route = Route {
            netns: endpoint.netns,
            local: endpoint.tuple.local().ip(),
            peer: endpoint.tuple.peer(),
        };
        let failing_since = match close.cause {
            Some(Cause::NoLocalPort) => self.failing_since(&route, close.at),
            _ => None,
        };
        if let Some(tally) = self.present.routes.get_mut(&route) {
            tally.add(close, failing_since);
            return;
        }
        if self.present.routes.len() >= MAX_ROUTES {
            self.begin_span(close.at);
        }
        let tally = self.present.routes.entry(route).or_default();
        tally.add(close, failing_since);
    }

    /// Returns since when connects failed in the span before, if they still did a minute ago.
    fn failing_since(&self, route: &Route, now: Nanos) -> Option<Nanos> {
        let failures = self.before.routes.get(route)?.failures.as_ref()?;
        (now - failures.last < SPAN).then_some(failures.first)
    }

    /// Returns what is known of a route at this time.
    #[must_use]
    pub fn history(&self, route: &Route, now: Nanos) -> RouteHistory {
        let spans = [&self.before, &self.present];
        let recent = spans
            .into_iter()
            .filter(|span| now - span.begun <= SPAN + SPAN);
        let mut history = RouteHistory {
            since: self.since(now),
            ..RouteHistory::default()
        };
        for tally in recent.filter_map(|span| span.routes.get(route)) {
            tally.add_to(&mut history);
        }
        history
    }

    /// Returns since when everything is known.
    fn since(&self, now: Nanos) -> Nanos {
        match now - self.present.begun {
            elapsed if elapsed > SPAN + SPAN => now - SPAN,
            elapsed if elapsed > SPAN => self.present.begun,
            _ => self.before.begun,
        }
    }

    fn advance_to(&mut self, now: Nanos) {
        let elapsed = now - self.present.begun;
        if elapsed >= SPAN + SPAN {
            // The present span is too old to be the one before.
            self.present = Span {
                begun: now - SPAN,
                routes: HashMap::new(),
            };
        }
        if elapsed >= SPAN {
            self.begin_span(now);
        }
    }

    fn begin_span(&mut self, now: Nanos) {
        let present = Span {
            begun: now,
            routes: HashMap::new(),
        };
        self.before = std::mem::replace(&mut self.present, present);
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            closed_here: 0,
            closed_by_peer: 0,
            lifetimes: [Nanos(0); MAX_LIFETIMES],
            lifetimes_seen: 0,
            failures: None,
        }
    }
}

impl Tally {
    fn add(&mut self, close: &Close, failing_since: Option<Nanos>) {
        if close.cause == Some(Cause::NoLocalPort) {
            let failures = self.failures.get_or_insert_with(|| Failures {
                count: 0,
                first: failing_since.unwrap_or(close.at),
                last: close.at,
                processes: Vec::new(),
            });
            failures.add(close);
            return;
        }
        match close.initiator {
            Initiator::Local => self.closed_here += 1,
            Initiator::Peer => self.closed_by_peer += 1,
            Initiator::Both | Initiator::Unknown => {}
        }
        if let Some(lifetime) = close.endpoint.lifetime.filter(|_| is_established(close)) {
            let place = self.lifetimes_seen as usize % MAX_LIFETIMES;
            self.lifetimes[place] = lifetime;
            self.lifetimes_seen += 1;
        }
    }

    fn add_to(&self, history: &mut RouteHistory) {
        history.closed_here += self.closed_here;
        history.closed_by_peer += self.closed_by_peer;
        history.lifetime = self.median_lifetime().or(history.lifetime);
        let Some(failures) = &self.failures else {
            return;
        };
        history.failed += failures.count;
        history.failing_since = history.failing_since.or(Some(failures.first));
        history.failed_at = Some(failures.last);
        for (owner, count) in &failures.processes {
            add_failed(&mut history.failed_of, owner, *count);
        }
    }

    fn median_lifetime(&self) -> Option<Nanos> {
        let seen = (self.lifetimes_seen as usize).min(MAX_LIFETIMES);
        let mut lifetimes = self.lifetimes;
        let lifetimes = &mut lifetimes[..seen];
        lifetimes.sort_unstable();
        lifetimes.get(seen / 2).copied()
    }
}

impl Failures {
    fn add(&mut self, close: &Close) {
        self.count += 1;
        self.last = close.at;
        if let Some(owner) = &close.owner {
            add_failed(&mut self.processes, owner, 1);
        }
    }
}

/// Returns whether the connection was established: what failed had no life.
fn is_established(close: &Close) -> bool {
    close.endpoint.opened.is_some()
}

fn add_failed(processes: &mut Vec<(SharedOwner, u64)>, owner: &SharedOwner, count: u64) {
    let is_same = |other: &SharedOwner| (other.pid, &other.comm) == (owner.pid, &owner.comm);
    if let Some((_, known)) = processes.iter_mut().find(|(other, _)| is_same(other)) {
        *known += count;
    } else if processes.len() < MAX_PROCESSES {
        processes.push((owner.clone(), count));
    }
}
