//! The core's state: live endpoints, findings that are about to be reported, and the rules by which
//! one becomes the other.

mod gauges;
mod owners;
mod probe_results;
mod seed;
mod signals;
mod stuck;
mod stuck_watch;
mod transitions;

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt as _};
use tcpclose_common::TcpState;

use super::close_path::{Outcome, reconstruct, reset_may_follow};
use super::event::Event;
use super::finding::{Finding, Loss, LossLocation, TimeWait};
use super::input::Input;
use super::listeners::Listeners;
use super::live_endpoint::{LiveEndpoint, StateChange};
use super::orphan::Orphans;
use super::stale_closing::StaleClosing;
use super::table::Table;
use super::time_wait::{Poll, PollRequest, TimeWaits};
use super::types::{EndpointId, Nanos};

/// The largest error of a timer's remaining time: the kernel's clock ticks every 1 to 10 ms.
const TICK: Nanos = Nanos::from_millis(10);

/// How long a close waits for the RST that `tcp_send_reset` reports after →CLOSE. It follows in the
/// same system call.
const RESET_WAIT: Nanos = Nanos::from_millis(20);

/// How long an end may stay in SYN_SENT without a local port. The port filter hides the rest of
/// such a connection's life when its port is not wanted; connect() gives up after 127 s by default.
const CONNECT_PATIENCE: Nanos = Nanos::from_secs(300);

use owners::Owners;
use stuck_watch::StuckWatch;

/// The core: takes events, results of probes and the time, and returns findings. It is pure: it has
/// no clock and does no I/O.
#[derive(Debug)]
pub struct Tracker {
    table: Table,
    orphans: Orphans,
    stale_closing: StaleClosing,
    time_waits: TimeWaits,
    listeners: Listeners,
    stuck: Option<StuckWatch>,
    owners: Owners,
    /// Closes that wait for the record of a RST that was sent, by the kernel's id of the socket,
    /// and in order of time.
    awaiting_reset: HashMap<EndpointId, LiveEndpoint>,
    awaiting_reset_order: VecDeque<(Nanos, EndpointId)>,
    filters_ports: bool,
    /// Whether the kernel reports the segments that minisockets receive.
    sees_segments: bool,
    /// Ends in SYN_SENT, in order of time; only with a filter on local ports.
    connecting: VecDeque<(Nanos, EndpointId)>,
    findings: VecDeque<Finding>,
    evicted: u64,
    opened: u64,
    /// The last id that was given to an endpoint without a cookie.
    last_serial: u64,
}

impl Tracker {
    /// Returns a tracker for at most `capacity` live endpoints, and as many parked ones. If the
    /// table is full, the endpoint that has not changed its state for longest is dropped and
    /// counted as [`LossLocation::Table`].
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            table: Table::new(capacity),
            orphans: Orphans::new(capacity),
            stale_closing: StaleClosing::default(),
            time_waits: TimeWaits::new(capacity),
            listeners: Listeners::default(),
            stuck: None,
            owners: Owners::default(),
            awaiting_reset: HashMap::new(),
            awaiting_reset_order: VecDeque::new(),
            filters_ports: false,
            sees_segments: false,
            connecting: VecDeque::new(),
            findings: VecDeque::new(),
            evicted: 0,
            opened: 0,
            last_serial: 0,
        }
    }

    /// Expects that the eBPF programs filter local ports: a connect() is seen before its port is
    /// chosen, and nothing more of it if the filter drops that port. Such endpoints are dropped
    /// after a while.
    #[must_use]
    pub fn with_port_filter(mut self) -> Self {
        self.filters_ports = true;
        self
    }

    /// Expects that the kernel's hooks report minisockets: their signals are trusted, and the
    /// minisockets that they report are not polled.
    #[must_use]
    pub fn with_hooks(mut self) -> Self {
        self.time_waits.hooked = true;
        self.time_waits.by_cookies = true;
        self
    }

    /// Expects that the kernel reports the segments that end minisockets: the results of polls and
    /// hooks wait for the segment.
    #[must_use]
    pub fn with_segments(mut self) -> Self {
        self.sees_segments = true;
        self.time_waits.by_cookies = true;
        self
    }

    /// Returns the number of live endpoints in the table.
    #[must_use]
    pub fn live(&self) -> usize {
        self.table.len()
    }

    /// Returns the number of endpoints that their process has closed and that wait for the peer's
    /// FIN.
    #[must_use]
    pub fn waiting_for_fin(&self) -> usize {
        self.orphans.len()
    }

    /// Returns the state of a socket and when it was entered; `None` if that is not known.
    #[must_use]
    pub fn in_state_since(&self, id: EndpointId) -> Option<(TcpState, Nanos)> {
        let endpoint = self.table.get(id)?;
        Some((endpoint.state, endpoint.since.get()?))
    }

    /// Takes one input.
    pub fn take(&mut self, input: &Input) {
        match input {
            Input::Event(event) => self.ingest(event),
            Input::Time(now) => self.tick(*now),
            Input::Probed { id, minisocket, at } => self.probed(*id, *minisocket, *at),
            Input::StuckProbed(answers) => self.apply_stuck_probe(answers),
            Input::Polled(poll) => self.apply_poll(poll),
            Input::SnapshotSocket { sockets, at } => self.seed(sockets, *at),
            Input::Alive {
                namespaces,
                alive,
                began,
            } => self.resync(namespaces, alive, *began),
            Input::Lost(loss) => self.lose(*loss),
        }
    }

    /// Takes one event, in the order of the ring buffer.
    pub fn ingest(&mut self, event: &Event) {
        // Findings must not depend on when the ring was read.
        match event {
            Event::Transition(transition) => {
                self.pass(transition.at);
                self.transition(transition);
            }
            Event::Signal(signal) => {
                self.pass(signal.at);
                self.signal(signal);
            }
        }
    }

    /// Lets time pass up to `now`, by which all earlier events must have been taken.
    pub fn tick(&mut self, now: Nanos) {
        self.pass(now);
        let mut ended = Vec::new();
        self.time_waits.continue_polls(now, &mut ended);
        self.report_ended(ended);
        self.pass_stuck_deadlines();
        if self.evicted > 0 {
            let lost = std::mem::take(&mut self.evicted);
            self.findings.push_back(Finding::Loss(Loss {
                at: now,
                lost,
                location: LossLocation::Table,
                repaired: false,
            }));
        }
    }

    /// Ends the waits that are over by `now`, each at its own time.
    fn pass(&mut self, now: Nanos) {
        while let Some((at, id)) = self.awaiting_reset_order.front().copied()
            && at + RESET_WAIT <= now
        {
            self.awaiting_reset_order.pop_front();
            if let Some(endpoint) = self.awaiting_reset.remove(&id) {
                self.conclude(endpoint, at + RESET_WAIT);
            }
        }
        if self.time_waits.next_tick().is_some_and(|at| at <= now) {
            let mut ended = Vec::new();
            self.time_waits.tick(now, &mut ended);
            self.report_ended(ended);
        }
        while let Some((at, key)) = self.connecting.front().copied()
            && at + CONNECT_PATIENCE <= now
        {
            self.connecting.pop_front();
            if self.may_be_hidden(at, key) {
                self.table.remove(key);
            }
        }
    }

    /// Returns whether an endpoint is still in the state that its connect() entered at `at`, so
    /// that the port filter may hide it.
    fn may_be_hidden(&self, at: Nanos, key: EndpointId) -> bool {
        let endpoint = self.table.get(key);
        endpoint.is_some_and(|endpoint| {
            endpoint.state == TcpState::SynSent && endpoint.since.get() == Some(at)
        })
    }

    /// Reports a loss that occurred outside the core, in order with the other findings.
    pub fn lose(&mut self, loss: Loss) {
        self.findings.push_back(Finding::Loss(loss));
    }

    /// Returns when [`Tracker::tick`] or [`Tracker::due_probes`] next has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let reset_wait = self
            .awaiting_reset_order
            .front()
            .map(|(at, _)| *at + RESET_WAIT);
        reset_wait
            .into_iter()
            .chain(self.orphans.next_due())
            .chain(self.stale_closing.next_due())
            .chain(self.time_waits.next_due())
            .chain(self.time_waits.next_tick())
            .chain(self.next_stuck_probe())
            .min()
    }

    /// Returns the number of endpoints in TIME_WAIT that are followed.
    #[must_use]
    pub fn in_time_wait(&self) -> usize {
        self.time_waits.len()
    }

    /// Collects the polls that are due now; each must be answered by [`Tracker::apply_poll`].
    pub fn due_polls(&mut self, now: Nanos, due: &mut Vec<PollRequest>) {
        due.clear();
        self.time_waits.take_due(now, due);
    }

    /// Takes the result of a poll. The following ticks apply the rest of a large one.
    pub fn apply_poll(&mut self, poll: &Poll) {
        let mut ended = Vec::new();
        self.time_waits.apply_poll(poll.clone(), &mut ended);
        self.report_ended(ended);
    }

    /// Returns the next finding, in the order in which they were made.
    pub fn next_finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    /// Handles the last transition of an endpoint. One that may still have sent a RST waits for its
    /// record.
    fn close(&mut self, key: EndpointId, endpoint: LiveEndpoint, now: Nanos) {
        let closing = endpoint.closing.as_deref();
        let last = closing.and_then(|closing| closing.changes.last());
        let may_reset = last.is_some_and(reset_may_follow);
        if may_reset && closing.is_some_and(|closing| closing.reset_sent.is_none()) {
            self.awaiting_reset_order.push_back((now, key));
            if let Some(earlier) = self.awaiting_reset.insert(key, endpoint) {
                self.conclude(earlier, now);
            }
        } else {
            self.conclude(endpoint, now);
        }
    }

    /// Reports an endpoint of which no more records will follow, or waits for the peer's FIN.
    fn conclude(&mut self, endpoint: LiveEndpoint, now: Nanos) {
        let parked = endpoint.closing.as_deref().is_some_and(|closing| {
            closing.reset_sent.is_none()
                && closing.changes.last().is_some_and(StateChange::is_parking)
        });
        if parked {
            self.park(endpoint, now);
        } else {
            self.emit(&endpoint, Outcome::Seen);
        }
    }

    fn park(&mut self, endpoint: LiveEndpoint, now: Nanos) {
        if let Some(evicted) = self.orphans.park(endpoint, now) {
            self.evicted += 1;
            self.emit(&evicted.endpoint, Outcome::Lost(now));
        }
    }

    fn report_ended(&mut self, ended: impl IntoIterator<Item = TimeWait>) {
        for time_wait in ended {
            self.findings
                .push_back(Finding::TimeWait(Box::new(time_wait)));
        }
    }

    fn emit(&mut self, endpoint: &LiveEndpoint, outcome: Outcome) {
        let close = reconstruct(endpoint, outcome);
        let closing = endpoint.closing.as_deref();
        let last = closing.and_then(|closing| closing.changes.last());
        let took = closing.is_some_and(|closing| closing.minisocket_segment.is_some());
        let entered = match outcome {
            Outcome::PeerFin(at) => Some((at, if took { Nanos(0) } else { TICK })),
            Outcome::Seen => last
                .filter(|last| last.is_time_wait())
                .map(|last| (last.at, Nanos(0))),
            Outcome::FinTimeout(_)
            | Outcome::ResetByUs(_)
            | Outcome::ResetByPeer(_)
            | Outcome::Lost(_) => None,
        };
        if let Some((at, error)) = entered {
            let (ended, owner) = (close.endpoint.clone(), close.owner.clone());
            // No hook has seen its minisocket: there is none, or the record was lost. Polls will
            // show.
            let armed = closing.is_some_and(|closing| closing.armed);
            let hooked = self.time_waits.hooked && (armed || outcome != Outcome::Seen);
            let cookie = endpoint.cookie();
            let followed = self
                .time_waits
                .enter(ended, owner, cookie, at, error, hooked);
            self.evicted += u64::from(!followed);
        }
        self.findings.push_back(Finding::Close(Box::new(close)));
    }
}
