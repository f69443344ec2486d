//! All endpoints that may be stuck: when each is probed, and what the responses make of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tcpclose_common::TcpState;

use crate::finding::Endpoint;
use crate::live_endpoint::{LiveEndpoint, StateChange};
use crate::process::Process;
use crate::stuck::{
    Deadlines, ObservedSocket, OwnerKey, OwnerProcess, OwnerUnknown, PollHistory, ProbeRequest,
    ProbeResponse, ProbedSocket, STUCK_STATES, StuckEvent, StuckSocket, Trends, Watched, count,
};
use crate::table::Table;
use crate::types::{EndpointId, Nanos};

/// Sockets probed at a time.
const REQUESTS: usize = 65_536;

/// After a probe that took t, none follows for this many t: at most 5 % of a core.
const REST: u64 = 20;

/// What is known of all endpoints that may be stuck.
#[derive(Debug)]
pub(super) struct StuckWatch {
    after: Nanos,
    deadlines: Deadlines,
    /// What is being probed; nothing else is until the response comes.
    pending: Vec<EndpointId>,
    /// No probe before that.
    rests_until: Nanos,
    /// The endpoints that were reported; some may be gone since the last probe.
    reported: Vec<EndpointId>,
    trends: Trends,
    /// Of each process that runs out of descriptors, one of its reported endpoints: that is probed
    /// again and again, as nothing else shows when the process has more room.
    refreshed: HashMap<OwnerKey, EndpointId>,
}

/// What a probe makes of an endpoint.
enum Outcome {
    /// It has left its state.
    Left,
    /// It may be stuck by then.
    ProbeAt(Nanos),
    Stuck,
}

/// Whether a probe can find an endpoint in a state in which it can be stuck, and not yet reported.
/// Its way there may have been lost.
fn may_be_stuck(endpoint: &LiveEndpoint) -> bool {
    let state = endpoint.state;
    (STUCK_STATES.contains(&state) || state == TcpState::Established)
        && endpoint.reported_stuck().is_none()
}

/// Whether an endpoint entered such a state at that time, and is in it still.
fn is_since(endpoint: &LiveEndpoint, entered: Nanos) -> bool {
    STUCK_STATES.contains(&endpoint.state) && endpoint.since.get() == Some(entered)
}

fn is_still_in(table: &Table) -> impl Fn(Nanos, EndpointId) -> bool {
    |entered, id| {
        let endpoint = table.get(id);
        endpoint.is_some_and(|endpoint| is_since(endpoint, entered))
    }
}

fn is_reported(table: &Table, id: EndpointId) -> bool {
    let endpoint = table.get(id);
    endpoint.is_some_and(|endpoint| endpoint.reported_stuck().is_some())
}

impl StuckWatch {
    /// Watches for endpoints that stay in their state for `after`.
    pub fn new(after: Nanos) -> Self {
        Self {
            after,
            deadlines: Deadlines::new(after),
            pending: Vec::new(),
            rests_until: Nanos(0),
            reported: Vec::new(),
            trends: Trends::default(),
            refreshed: HashMap::new(),
        }
    }

    /// Returns how many endpoints are reported, as of the last probe.
    pub fn len(&self) -> usize {
        self.reported.len()
    }

    /// Returns the reported endpoints that are stuck still.
    pub fn reported<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a StuckSocket> {
        let reported = self.reported.iter();
        reported.filter_map(|&id| table.get(id)?.reported_stuck())
    }

    /// Notes that an endpoint enters a state in which it can be stuck.
    pub fn entered(&mut self, at: Nanos, id: EndpointId, table: &Table) {
        self.deadlines.entered(at, id, is_still_in(table));
    }

    /// Has an endpoint probed at that time.
    pub fn probe_at(&mut self, at: Nanos, id: EndpointId) {
        self.deadlines.probe_at(at, id);
    }

    /// Drops the next deadlines if their endpoints have left their state.
    pub fn pass(&mut self, table: &Table) {
        self.deadlines.pass(is_still_in(table));
    }

    /// Returns when the next probe is due.
    pub fn next_probe(&self) -> Option<Nanos> {
        let next = self.deadlines.next()?.max(self.rests_until);
        self.pending.is_empty().then_some(next)
    }

    /// Adds the sockets to be probed now.
    pub fn take_due(&mut self, now: Nanos, table: &Table, requests: &mut Vec<ProbeRequest>) {
        if !self.pending.is_empty() || self.rests_until > now {
            return;
        }
        while requests.len() < REQUESTS
            && let Some((entered, id)) = self.deadlines.take_due(now)
        {
            let is_wanted = |endpoint: &&LiveEndpoint| match entered {
                Some(entered) => is_since(endpoint, entered),
                None => may_be_stuck(endpoint) || endpoint.reported_stuck().is_some(),
            };
            let endpoint = table.get(id).filter(is_wanted);
            requests.extend(endpoint.map(|endpoint| ProbeRequest {
                id,
                cookie: endpoint.cookie(),
                netns: endpoint.netns,
                tuple: endpoint.tuple,
            }));
        }
        self.pending
            .extend(requests.iter().map(|request| request.id));
    }

    /// Takes the response to a probe, and returns what it has found to be stuck.
    #[expect(clippy::vec_box, reason = "a finding carries them boxed")]
    pub fn apply(&mut self, response: &ProbeResponse, table: &mut Table) -> Vec<Box<StuckSocket>> {
        let ProbeResponse { at, ended, found } = response;
        self.rests_until = *ended + Nanos((*ended - *at).0.saturating_mul(REST));
        let (mut stuck, mut answered) = (Vec::new(), HashSet::new());
        for probed in found {
            let Some(endpoint) = table.get_mut(probed.id) else {
                continue;
            };
            if !answered.insert(probed.id) {
                continue;
            }
            if let Some(reported) = endpoint.reported_stuck_mut() {
                self.refresh(reported, probed, *at);
                continue;
            }
            match assess(endpoint, probed, *at, self.after) {
                Outcome::Left => {}
                Outcome::ProbeAt(due) => self.deadlines.probe_at(due, probed.id),
                Outcome::Stuck => stuck.push(probed.id),
            }
        }
        // They could not be probed, or what ended them is still to come.
        for id in self.pending.drain(..).filter(|id| !answered.contains(id)) {
            if table.get(id).is_some_and(may_be_stuck) {
                self.deadlines.probe_at(*ended + self.after, id);
            }
        }
        let new: HashSet<EndpointId> = stuck.iter().copied().collect();
        self.reported
            .retain(|id| !new.contains(id) && is_reported(table, *id));
        self.reported.extend(&stuck);
        self.trends.record(*at, count(self.reported(table)));
        let stuck = stuck.into_iter().filter_map(|id| {
            let reported = table.get_mut(id)?.reported_stuck_mut()?;
            let process = reported.process.take();
            reported.process = process.and_then(|owner| self.owner(&owner.process, *at));
            Some(Box::new(reported.clone()))
        });
        let stuck = stuck.collect();
        self.schedule_refreshes(&answered, *ended, table);
        stuck
    }

    /// Notes how the process of an endpoint is now that was reported before.
    fn refresh(&self, reported: &mut StuckSocket, probed: &ProbedSocket, at: Nanos) {
        let process = probed.process.as_ref();
        if let Some(owner) = process.and_then(|process| self.owner(process, at)) {
            reported.process = Some(owner);
        }
    }

    /// Returns the owner with its last count; `None` where none of its sockets was counted.
    fn owner(&self, process: &Arc<Process>, at: Nanos) -> Option<OwnerProcess> {
        let owner = OwnerKey::Process(process.key());
        Some(OwnerProcess {
            stuck: self.trends.last(&owner)?.stuck as usize,
            forecast: self.trends.forecast(&owner, process.room()),
            ..OwnerProcess::new(Arc::clone(process), at)
        })
    }

    /// Schedules another probe for each process that runs out of descriptors. What is known of a
    /// process is what its newest probe has shown.
    fn schedule_refreshes(&mut self, answered: &HashSet<EndpointId>, ended: Nanos, table: &Table) {
        let mut newest: HashMap<OwnerKey, (EndpointId, &OwnerProcess)> = HashMap::new();
        for &id in &self.reported {
            let reported = table.get(id).and_then(LiveEndpoint::reported_stuck);
            if let Some(reported) = reported
                && let Some(owner) = &reported.process
            {
                let known = newest.entry(reported.owner_key()).or_insert((id, owner));
                if owner.as_of > known.1.as_of {
                    *known = (id, owner);
                }
            }
        }
        let before = std::mem::take(&mut self.refreshed);
        for (key, (id, owner)) in newest {
            if !owner.runs_out() {
                continue;
            }
            let known = before.get(&key).copied();
            let known = known.filter(|&known| is_reported(table, known));
            // One that is not answered is scheduled already.
            if known.is_none_or(|known| answered.contains(&known)) {
                let due = ended + self.after;
                self.deadlines.probe_at(due, known.unwrap_or(id));
            }
            self.refreshed.insert(key, known.unwrap_or(id));
        }
    }
}

/// Takes what a probe has shown of an endpoint that is not reported yet.
fn assess(endpoint: &mut LiveEndpoint, probed: &ProbedSocket, at: Nanos, after: Nanos) -> Outcome {
    if !may_be_stuck(endpoint) {
        return Outcome::Left;
    }
    let ProbedSocket {
        id: _,
        socket,
        holders,
        process,
    } = probed;
    let since = endpoint.since.get();
    let entered = since.filter(|_| endpoint.state == socket.state);
    let socket = ObservedSocket { entered, ..*socket };
    let closing = endpoint.closing.get_or_insert_default();
    let last_mark = closing.changes.last().filter(|_| entered.is_some());
    let acked = last_mark
        .and_then(|change: &StateChange| change.evidence)
        .map(|evidence| evidence.bytes_acked);
    let before = closing.watched.as_deref().map(|watched| &watched.polls);
    let event = match (entered, before) {
        // It was there before the tracer, and as old at its first probe.
        (None, None) => StuckEvent::Ongoing,
        _ => StuckEvent::Opened,
    };
    let polls = PollHistory::new(&socket, at, before, acked);
    let verdict = polls.verdict(&socket, at, after);
    let is_stuck = polls.is_old(at, after) && verdict.is_stuck();
    let reported = is_stuck.then(|| {
        let stuck = StuckSocket {
            at,
            event,
            endpoint: Endpoint {
                id: endpoint.id,
                // The classic tracepoint does not show the namespace; the probe does.
                netns: socket.netns,
                tuple: endpoint.tuple,
                role: endpoint.role,
                seen_from_start: endpoint.seen_from_start,
                opened: endpoint.opened.get(),
                lifetime: None,
            },
            socket,
            age: polls.age,
            verdict,
            owner: endpoint.owner.clone(),
            owner_unknown: None,
            holders: Vec::new(),
            process: None,
        };
        Box::new(stuck.held_by(holders.clone(), process.as_ref(), OwnerUnknown::Unspecified))
    });
    closing.watched = Some(Box::new(Watched { polls, reported }));
    if is_stuck {
        Outcome::Stuck
    } else if polls.is_old(at, after) {
        // A half-close at work: not too often.
        Outcome::ProbeAt(polls.stuck_at(after).max(at + Nanos(after.0 / 4)))
    } else {
        Outcome::ProbeAt(polls.age.since + after)
    }
}
