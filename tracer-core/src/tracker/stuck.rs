//! Ends that stay in CLOSE_WAIT: when a deadline passes the core asks, and what it is told makes them stuck or not.

use std::collections::{HashMap, HashSet};

use tcpclose_common::TcpState;

use super::Tracker;
use crate::finding::{Endpoint, Finding, Stuck};
use crate::live_endpoint::{LiveEndpoint, Mark};
use crate::process::ProcessKey;
use crate::stuck::{
    Age, Deadlines, Leak, ObservedSocket, OwnerProcess, OwnerUnknown, ProbeRequest, ProbeResponse,
    ProbedSocket, Resolution, Sample, StuckEvent, Trends, judge,
};
use crate::types::{EndpointId, Nanos};

/// Questions asked at a time.
const QUESTIONS: usize = 65_536;

/// After a look that took t, none follows for this many t: at most 5 % of a core.
const REST: u64 = 20;

/// What is known of all ends in CLOSE_WAIT together.
#[derive(Debug)]
pub(super) struct StuckWatch {
    after: Nanos,
    deadlines: Deadlines,
    /// The open questions; no others are asked until they are answered.
    asked: Vec<EndpointId>,
    /// No look before that.
    rests_until: Nanos,
    /// Those that were told to be stuck; some may be gone since the last look.
    told: Vec<EndpointId>,
    growths: Trends<ProcessKey>,
    /// Of each process that runs out of descriptors, one of its told ends: that is looked at again and again, as nothing else
    /// tells when the process has more room.
    again: HashMap<ProcessKey, EndpointId>,
}

/// What looks have shown of an end in CLOSE_WAIT.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    socket: ObservedSocket,
    age: Age,
    /// When bytes last moved, as far as looks could tell.
    moved: Option<Nanos>,
    owner: Option<ProcessKey>,
    /// The finding that it is stuck.
    pub told: Option<Box<Stuck>>,
}

/// Whether its descriptors are spent, or will be.
fn runs_out(leaker: &OwnerProcess) -> bool {
    let foreseen = leaker.forecast.and_then(|forecast| forecast.exhausted_in);
    leaker.process.room() == Some(0) || foreseen.is_some()
}

/// Whether an end was told to be stuck and is so.
fn is_told(endpoint: &LiveEndpoint) -> bool {
    told(endpoint).is_some()
}

fn told(endpoint: &LiveEndpoint) -> Option<&Stuck> {
    let closing = endpoint.closing.as_deref()?;
    closing.watched.as_deref()?.told.as_deref()
}

/// What an answer makes of an end.
enum Taken {
    Nothing,
    LookAt(Nanos),
    Stuck(Box<Stuck>),
}

/// Whether an end is in CLOSE_WAIT since then.
fn is_since(endpoint: &LiveEndpoint, entered: Option<Nanos>) -> bool {
    endpoint.state == TcpState::CloseWait && endpoint.since.get() == entered
}

/// Whether a look at an end can find it in CLOSE_WAIT and not yet told of. Its way there may have been lost.
fn may_wait(endpoint: &LiveEndpoint) -> bool {
    let closing = endpoint.closing.as_deref();
    let watched = closing.and_then(|closing| closing.watched.as_deref());
    matches!(endpoint.state, TcpState::CloseWait | TcpState::Established)
        && watched.is_none_or(|watched| watched.told.is_none())
}

fn take_in(endpoint: &mut LiveEndpoint, answer: &ProbedSocket, at: Nanos, after: Nanos) -> Taken {
    if !may_wait(endpoint) {
        return Taken::Nothing;
    }
    let ProbedSocket {
        id: _,
        socket,
        holders,
        process,
    } = answer;
    let entered = endpoint
        .since
        .get()
        .filter(|_| endpoint.state == TcpState::CloseWait);
    let closing = endpoint.closing.get_or_insert_default();
    let before = closing.watched.as_deref();
    let socket = ObservedSocket { entered, ..*socket };
    let age = Age::of(&socket, at);
    let age = before.map_or(age, |before| age.or_earlier(before.age));
    let acked_by_fin = closing
        .marks
        .last()
        .and_then(|mark: &Mark| mark.evidence)
        .filter(|_| entered.is_some())
        .map(|evidence| evidence.bytes_acked);
    let activity = socket.activity.unwrap_or_default();
    let changed = match before {
        Some(before) => before.socket.counters() != socket.counters(),
        None => acked_by_fin.is_some_and(|acked| acked < activity.bytes_acked),
    };
    let moved = if changed {
        Some(at - activity.since_ack)
    } else {
        before.and_then(|before| before.moved)
    };
    let moved = moved.max(socket.sent(at));
    let moves = moved.is_some_and(|moved| at - moved < after);
    let event = match (entered, before) {
        // It was as old before anybody looked.
        (None, None) => StuckEvent::Ongoing,
        _ => StuckEvent::Opened,
    };
    let leak = Leak {
        event,
        socket,
        age,
        verdict: judge(&socket, moves),
    };
    closing.watched = Some(Box::new(Watched {
        socket,
        age,
        moved,
        owner: process.as_ref().map(|process| process.key()),
        told: None,
    }));
    if at - age.since < after {
        return Taken::LookAt(age.since + after);
    }
    if !leak.verdict.is_stuck() {
        let quiet_at = moved.map_or(at, |moved| moved.max(at - after)) + after;
        return Taken::LookAt(quiet_at.max(at + Nanos(after.0 / 4)));
    }
    let source = leak.verdict.owner_source();
    let by_proc = process.as_ref().map(|process| process.as_owner(source));
    let owner = by_proc.or_else(|| endpoint.owner.clone());
    Taken::Stuck(Box::new(Stuck {
        at,
        endpoint: Endpoint {
            id: endpoint.id,
            // The classic tracepoint does not tell; the look does.
            netns: socket.netns,
            tuple: endpoint.tuple,
            role: endpoint.role,
            seen_from_start: endpoint.seen_from_start,
            opened: endpoint.opened.get(),
            lifetime: None,
        },
        leak,
        end: None,
        owner_unknown: owner.is_none().then_some(OwnerUnknown::NotTold),
        owner,
        holders: holders.clone(),
        leaker: None,
    }))
}

impl Tracker {
    /// Ends that stay in CLOSE_WAIT for that long are asked about ([`Tracker::due_stuck_probes`]), and told of as stuck.
    #[must_use]
    pub fn with_stuck_after(mut self, after: Nanos) -> Self {
        self.stuck = Some(StuckWatch {
            after,
            deadlines: Deadlines::new(after),
            asked: Vec::new(),
            rests_until: Nanos(0),
            told: Vec::new(),
            growths: Trends::default(),
            again: HashMap::new(),
        });
        self
    }

    /// Sockets to be looked at now. All of them are to be answered at once, by [`Tracker::apply_stuck_probe`]; until then there are
    /// no others.
    pub fn due_stuck_probes(&mut self, now: Nanos, questions: &mut Vec<ProbeRequest>) {
        questions.clear();
        let Some(mut watch) = self.stuck.take() else {
            return;
        };
        if watch.asked.is_empty() && watch.rests_until <= now {
            while questions.len() < QUESTIONS
                && let Some((entered, id)) = watch.deadlines.take_due(now)
            {
                let waiting = self.table.get(id).filter(|endpoint| match entered {
                    Some(_) => is_since(endpoint, entered),
                    None => may_wait(endpoint) || is_told(endpoint),
                });
                questions.extend(waiting.map(|endpoint| ProbeRequest {
                    id,
                    cookie: endpoint.cookie(),
                    netns: endpoint.netns,
                    tuple: endpoint.tuple,
                }));
            }
            watch
                .asked
                .extend(questions.iter().map(|question| question.id));
        }
        self.stuck = Some(watch);
    }

    /// What a look at the sockets that were asked for has shown.
    pub fn apply_stuck_probe(&mut self, answers: &ProbeResponse) {
        let Some(mut watch) = self.stuck.take() else {
            return;
        };
        watch.rests_until =
            answers.ended + Nanos((answers.ended - answers.at).0.saturating_mul(REST));
        let (mut turned, mut answered) = (Vec::new(), HashSet::new());
        for answer in &answers.seen {
            let Some(endpoint) = self.table.get_mut(answer.id) else {
                continue;
            };
            if !answered.insert(answer.id) {
                continue;
            }
            if is_told(endpoint) {
                watch.refresh(endpoint, answer, answers);
                continue;
            }
            match take_in(endpoint, answer, answers.at, watch.after) {
                Taken::Nothing => {}
                Taken::LookAt(due) => watch.deadlines.look_at(due, answer.id),
                Taken::Stuck(stuck) => turned.push((answer, stuck)),
            }
        }
        // Nobody could look, or what ended it is still to come.
        for id in watch.asked.drain(..).filter(|id| !answered.contains(id)) {
            if self.table.get(id).is_some_and(may_wait) {
                watch.deadlines.look_at(answers.ended + watch.after, id);
            }
        }
        watch
            .told
            .extend(turned.iter().map(|(answer, _)| answer.id));
        watch.count(self, answers.at);
        for (answer, mut stuck) in turned {
            stuck.leaker = watch.leaker(answer, answers.at);
            watch.look_again(answer, answers, stuck.leaker.as_ref());
            if let Some(watched) = self.watched(answer.id) {
                watched.told = Some(stuck.clone());
            }
            self.findings.push_back(Finding::Stuck(stuck));
        }
        self.stuck = Some(watch);
    }

    /// Ends that are told to be stuck and not resolved, as of the last look.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.stuck.as_ref().map_or(0, |watch| watch.told.len())
    }

    /// Those ends, each as it was told; `None` where nobody asked for them ([`Tracker::with_stuck_after`]).
    pub fn stuck_sockets(&self) -> Option<impl Iterator<Item = &Stuck>> {
        let told = &self.stuck.as_ref()?.told;
        Some(told.iter().filter_map(|&id| self.told(id)))
    }

    fn told(&self, id: EndpointId) -> Option<&Stuck> {
        told(self.table.get(id)?)
    }

    fn is_told(&self, id: EndpointId) -> bool {
        self.told(id).is_some()
    }

    /// An end has entered CLOSE_WAIT.
    pub(super) fn waits_for_close(&mut self, id: EndpointId, at: Nanos) {
        if let Some(mut watch) = self.stuck.take() {
            watch
                .deadlines
                .entered(at, id, |at, id| self.waits_since(id, at));
            self.stuck = Some(watch);
        }
    }

    /// A snapshot shows an end in CLOSE_WAIT: since when, only a look can tell.
    pub(super) fn waits_already(&mut self, id: EndpointId, at: Nanos) {
        if let Some(watch) = &mut self.stuck {
            watch.deadlines.look_at(at, id);
        }
    }

    /// An end that was told to be stuck is no longer.
    pub(super) fn resolve(&mut self, told: Box<Stuck>, at: Nanos, end: Resolution) {
        let mut stuck = told;
        stuck.resolve(at, end);
        self.findings.push_back(Finding::Stuck(stuck));
    }

    fn waits_since(&self, id: EndpointId, entered: Nanos) -> bool {
        let endpoint = self.table.get(id);
        endpoint.is_some_and(|endpoint| is_since(endpoint, Some(entered)))
    }

    fn watched(&mut self, id: EndpointId) -> Option<&mut Watched> {
        let closing = self.table.get_mut(id)?.closing.as_deref_mut()?;
        closing.watched.as_deref_mut()
    }

    pub(super) fn pass_deadlines(&mut self) {
        if let Some(mut watch) = self.stuck.take() {
            watch.deadlines.pass(|at, id| self.waits_since(id, at));
            self.stuck = Some(watch);
        }
    }

    pub(super) fn next_question(&self) -> Option<Nanos> {
        let watch = self.stuck.as_ref().filter(|watch| watch.asked.is_empty())?;
        Some(watch.deadlines.next()?.max(watch.rests_until))
    }
}

impl StuckWatch {
    /// Takes the numbers of this look, and forgets what is gone.
    fn count(&mut self, tracker: &Tracker, at: Nanos) {
        let mut stocks: HashMap<ProcessKey, Sample> = HashMap::new();
        self.told.retain(|&id| {
            let endpoint = tracker.table.get(id);
            let closing = endpoint.and_then(|endpoint| endpoint.closing.as_deref());
            let Some(watched) = closing.and_then(|closing| closing.watched.as_deref()) else {
                return false;
            };
            if let Some(owner) = watched.owner {
                let stock = stocks.entry(owner).or_default();
                stock.stuck += 1;
                stock.held += u64::from(watched.socket.inode.is_some());
            }
            true
        });
        self.growths.look(at, stocks);
        self.again.retain(|_, id| tracker.is_told(*id));
        // Another end takes the place of one that is gone. What is known of a process is what its newest look has shown.
        let mut newest: HashMap<ProcessKey, (EndpointId, &OwnerProcess)> = HashMap::new();
        for &id in &self.told {
            let told = tracker.told(id);
            let Some(leaker) = told.and_then(|told| told.leaker.as_ref()) else {
                continue;
            };
            let known = newest.entry(leaker.process.key()).or_insert((id, leaker));
            if leaker.as_of > known.1.as_of {
                *known = (id, leaker);
            }
        }
        for (owner, (id, leaker)) in newest {
            if runs_out(leaker) && !self.again.contains_key(&owner) {
                self.again.insert(owner, id);
                self.deadlines.look_at(at + self.after, id);
            }
        }
    }

    /// An end that was told is looked at again: how its process is now.
    fn refresh(
        &mut self,
        endpoint: &mut LiveEndpoint,
        answer: &ProbedSocket,
        answers: &ProbeResponse,
    ) {
        let leaker = self.leaker(answer, answers.at);
        let watched = endpoint.closing.as_deref_mut();
        let watched = watched.and_then(|closing| closing.watched.as_deref_mut());
        if let Some(told) = watched.and_then(|watched| watched.told.as_deref_mut())
            && leaker.is_some()
        {
            told.leaker = leaker;
            self.look_again(answer, answers, told.leaker.as_ref());
        }
    }

    /// Looks at an end again later, on behalf of a process that runs out.
    fn look_again(
        &mut self,
        answer: &ProbedSocket,
        answers: &ProbeResponse,
        leaker: Option<&OwnerProcess>,
    ) {
        let Some(leaker) = leaker else { return };
        let owner = leaker.process.key();
        let known = self.again.get(&owner).copied();
        if !runs_out(leaker) {
            if known == Some(answer.id) {
                self.again.remove(&owner);
            }
        } else if known.is_none_or(|known| known == answer.id) {
            self.again.insert(owner, answer.id);
            self.deadlines
                .look_at(answers.ended + self.after, answer.id);
        }
    }

    fn leaker(&self, answer: &ProbedSocket, at: Nanos) -> Option<OwnerProcess> {
        let process = answer.process.clone()?;
        let owner = process.key();
        Some(OwnerProcess {
            as_of: at,
            stuck: self.growths.last(&owner)?.stuck as usize,
            forecast: self.growths.forecast(&owner, process.room()),
            process,
        })
    }
}
