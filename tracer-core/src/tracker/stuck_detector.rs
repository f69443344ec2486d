//! All endpoints that may be stuck: when each is probed, and what the responses make of them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tcpclose_common::TcpState;

use crate::close_progress::StateChange;
use crate::finding::Endpoint;
use crate::known_socket::ProcessTrend;
use crate::live_endpoint::LiveEndpoint;
use crate::probe_request::ProbeRequest;
use crate::process::Process;
use crate::stuck::{
    Deadlines, HolderCoverage, ObservedSocket, OwnerKey, OwnerProcess, PollHistory, ProbedSocket,
    STUCK_STATES, StuckEvent, StuckProbeResponse, StuckSocket, StuckTracking, Trends,
    count_by_owner, is_timed_from_entry,
};
use crate::table::Table;
use crate::types::{EndpointId, Nanos, SharedOwner};

/// The most sockets that are probed at a time.
const MAX_PROBES_AT_ONCE: usize = 65_536;

/// After a probe that took t, none follows for this many t: at most 5 % of a core.
const PROBE_PAUSE_FACTOR: u64 = 20;

/// What is known of all endpoints that may be stuck.
#[derive(Debug)]
pub(super) struct StuckDetector {
    after: Nanos,
    deadlines: Deadlines,
    /// What is being probed; nothing else is until the response comes.
    pending: Vec<EndpointId>,
    /// No probe before that.
    paused_until: Nanos,
    /// The endpoints that were reported; some may be gone since the last probe.
    reported: Vec<EndpointId>,
    trends: Trends,
    /// One reported endpoint of each process that is running out of descriptors. It is probed
    /// repeatedly, because only a probe shows that the process has free descriptors again.
    refreshed: HashMap<OwnerKey, EndpointId>,
    /// How often something changed.
    revision: u64,
}

/// What a probe makes of an endpoint.
enum Assessment {
    /// It has left its state, or the kernel ends it by itself.
    Left,
    /// It may be stuck by then.
    ProbeAt(Nanos),
    Stuck,
}

/// Returns whether a probe can find an endpoint in a state in which it can be stuck, and not yet
/// reported. The record of the transition to that state may have been
/// lost.
fn may_be_stuck(endpoint: &LiveEndpoint) -> bool {
    let state = endpoint.state;
    (STUCK_STATES.contains(&state) || state == TcpState::Established)
        && endpoint.reported_stuck().is_none()
}

/// Returns whether an endpoint entered such a state at that time, and is in it still.
fn is_since(endpoint: &LiveEndpoint, entered: Nanos) -> bool {
    is_timed_from_entry(endpoint.state) && endpoint.since.get() == Some(entered)
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

impl StuckDetector {
    /// Watches for endpoints that stay in their state for `after`.
    pub fn new(after: Nanos) -> Self {
        Self {
            after,
            deadlines: Deadlines::new(after),
            pending: Vec::new(),
            paused_until: Nanos(0),
            reported: Vec::new(),
            trends: Trends::default(),
            refreshed: HashMap::new(),
            revision: 0,
        }
    }

    /// Returns a detector that knows nothing yet.
    pub fn anew(&self) -> Self {
        Self::new(self.after)
    }

    /// Returns how often something changed.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    pub const fn note_change(&mut self) {
        self.revision += 1;
    }

    /// Returns the endpoints that are stuck, or may be: the reported ones first, then those whose
    /// time has not come, each once.
    pub fn candidates<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = EndpointId> {
        let reported = self.reported.iter().copied();
        let reported = reported.filter(|id| is_reported(table, *id));
        let is_candidate = |id: &EndpointId| table.get(*id).is_some_and(may_be_stuck);
        reported.chain(self.deadlines.ids(is_still_in(table)).filter(is_candidate))
    }

    /// Takes over the report that an endpoint is stuck, which an earlier tracker has made. Returns
    /// `false` if there is none, or if the endpoint is too young by now.
    pub fn take_over(&mut self, endpoint: &mut LiveEndpoint, at: Nanos) -> bool {
        self.note_change();
        let Some(closing) = endpoint.closing.as_deref_mut() else {
            return false;
        };
        let Some(tracking) = closing.stuck_tracking.as_deref_mut() else {
            return false;
        };
        if !tracking.polls.has_age(at, self.after) {
            tracking.reported = None;
        }
        let Some(reported) = &tracking.reported else {
            return false;
        };
        self.reported.push(endpoint.id);
        // How its process is now, a probe of one of its sockets shows.
        if let Entry::Vacant(place) = self.refreshed.entry(reported.owner_key()) {
            place.insert(endpoint.id);
            self.deadlines.probe_at(at, endpoint.id);
        }
        true
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
    pub fn add(&mut self, at: Nanos, id: EndpointId, table: &Table) {
        self.deadlines.add(at, id, is_still_in(table));
    }

    /// Has an endpoint probed at that time.
    pub fn probe_at(&mut self, at: Nanos, id: EndpointId) {
        self.deadlines.probe_at(at, id);
    }

    /// Has an endpoint probed once it has been in its state for long enough, at `now` at the
    /// earliest.
    pub fn probe_when_old(&mut self, since: Nanos, id: EndpointId, now: Nanos) {
        self.probe_at((since + self.after).max(now), id);
    }

    /// Drops the next deadlines if their endpoints have left their state.
    pub fn drop_outdated(&mut self, table: &Table) {
        self.deadlines.drop_outdated(is_still_in(table));
    }

    /// Returns when the next probe is due.
    pub fn next_probe(&self) -> Option<Nanos> {
        let next = self.deadlines.next_due()?.max(self.paused_until);
        self.pending.is_empty().then_some(next)
    }

    /// Adds the sockets to be probed now.
    pub fn take_due(&mut self, now: Nanos, table: &Table, requests: &mut Vec<ProbeRequest>) {
        if !self.pending.is_empty() || self.paused_until > now {
            return;
        }
        while requests.len() < MAX_PROBES_AT_ONCE
            && let Some((entered, id)) = self.deadlines.take_due(now)
        {
            let is_wanted = |endpoint: &&LiveEndpoint| match entered {
                Some(entered) => is_since(endpoint, entered),
                None => may_be_stuck(endpoint) || endpoint.reported_stuck().is_some(),
            };
            let endpoint = table.get(id).filter(is_wanted);
            requests.extend(endpoint.map(|endpoint| endpoint.probe_request(id)));
        }
        self.pending
            .extend(requests.iter().map(|request| request.id));
    }

    /// Takes the response to a probe, and returns what it has found to be stuck.
    #[expect(clippy::vec_box, reason = "a finding carries them boxed")]
    pub fn apply(
        &mut self,
        response: &StuckProbeResponse,
        table: &mut Table,
    ) -> Vec<Box<StuckSocket>> {
        let StuckProbeResponse {
            at,
            ended,
            found,
            coverage,
        } = response;
        self.paused_until = *ended + Nanos((*ended - *at).0.saturating_mul(PROBE_PAUSE_FACTOR));
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
            match assess(endpoint, probed, coverage, *at, self.after) {
                Assessment::Left => {}
                Assessment::ProbeAt(due) => self.deadlines.probe_at(due, probed.id),
                Assessment::Stuck => stuck.push(probed.id),
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
        let counts = count_by_owner(self.reported(table)).into_values();
        self.trends
            .record(*at, counts.map(|count| (count.owner, count.sample)));
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
            stuck: self.trends.last(&owner)? as usize,
            forecast: self.trends.forecast(&owner, process.fds_left()),
            ..OwnerProcess::new(Arc::clone(process), at)
        })
    }

    /// Returns how the stuck sockets of the process grow that a reported socket belongs to.
    pub fn trend_of(&self, reported: &StuckSocket) -> Option<ProcessTrend> {
        let key = reported.owner_key();
        let OwnerKey::Process((pid, started)) = key else {
            return None;
        };
        Some(ProcessTrend {
            pid,
            started,
            lines: self.trends.lines(&key)?,
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
            if !owner.nears_fd_limit() {
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

/// Applies what a probe has shown of an endpoint that is not reported yet.
fn assess(
    endpoint: &mut LiveEndpoint,
    probed: &ProbedSocket,
    coverage: &HolderCoverage,
    at: Nanos,
    after: Nanos,
) -> Assessment {
    if !may_be_stuck(endpoint) {
        return Assessment::Left;
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
    let last_change = endpoint.last_change().filter(|_| entered.is_some());
    let acked = last_change
        .and_then(|change: &StateChange| change.evidence)
        .map(|evidence| evidence.tcp.bytes_acked);
    let before = endpoint.stuck_tracking().map(|tracking| &tracking.polls);
    let event = match (entered, before) {
        // It was there before the tracer, and as old at its first probe.
        (None, None) => StuckEvent::Ongoing,
        _ => StuckEvent::Opened,
    };
    let polls = PollHistory::new(&socket, at, before, acked);
    let can_be_stuck = socket.can_be_stuck();
    let is_stuck = can_be_stuck && polls.is_stuck(&socket, at, after);
    // Who connected or listens is no holder where it was searched in vain. Nobody holds what its
    // process has closed, and its process is known all the same.
    let may_hold = |owner: &SharedOwner| {
        socket.is_orphan() || !holders.is_empty() || coverage.may_have_missed(owner.pid)
    };
    let reported = is_stuck.then(|| {
        let verdict = polls.verdict(&socket, at, after);
        let found = Endpoint {
            // The classic tracepoint does not show the namespace; the probe does.
            netns: socket.netns,
            ..endpoint.to_endpoint(None)
        };
        let stuck = StuckSocket {
            owner: endpoint.owner.clone().filter(may_hold),
            ..StuckSocket::new(at, event, found, socket, polls.age, verdict)
        };
        let unknown = coverage.owner_unknown();
        Box::new(stuck.with_holders(holders.clone(), process.as_ref(), unknown))
    });
    endpoint.closing.get_or_insert_default().stuck_tracking =
        Some(Box::new(StuckTracking { polls, reported }));
    if is_stuck {
        Assessment::Stuck
    } else if !can_be_stuck {
        // The kernel ends it.
        Assessment::Left
    } else if polls.has_age(at, after) {
        // A half-close at work: not too often.
        Assessment::ProbeAt(polls.stuck_at(after).max(at + Nanos(after.0 / 4)))
    } else {
        Assessment::ProbeAt(polls.age.since + after)
    }
}
