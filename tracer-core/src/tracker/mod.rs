//! The core's state: live endpoints, findings that are about to be reported, and the rules by which
//! one becomes the other.

mod closes;
mod gauges;
mod known_sockets;
mod listed;
mod owners;
mod peers;
mod ports_in_use;
mod probe_results;
mod restore;
mod resume;
mod seed;
mod signals;
mod stuck;
mod stuck_detector;
mod transitions;

pub use listed::ListedEndpoint;
pub use ports_in_use::PortsInUse;

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt as _};
use tcpclose_common::TcpState;

use super::close_path::MinisocketOutcome;
use super::closes_awaiting_peer::ClosesAwaitingPeer;
use super::ended_while_stopped::EndedWhileStopped;
use super::event::Event;
use super::finding::{Finding, Loss, LossLocation, TimeWait};
use super::input::Input;
use super::kernel_timing::RESET_SIGNAL_TIMEOUT;
use super::listeners::Listeners;
use super::live_endpoint::LiveEndpoint;
use super::parked::ParkedEndpoints;
use super::peer::Openings;
use super::saved::UnconfirmedEndpoints;
use super::stale_closing::StaleClosing;
use super::table::Table;
use super::time_wait::{PollRequest, PollResponse, TimeWaits};
use super::types::{EndpointId, Nanos};
use super::uncounted_losses::UncountedLosses;
use super::unjoined_endpoints::UnjoinedEndpoints;
use owners::Owners;
use stuck_detector::StuckDetector;

/// How long an endpoint may stay in SYN_SENT without a local port. The port filter hides the rest
/// of such a connection's life when its port is not wanted; connect() gives up after 127 s by
/// default.
const UNBOUND_CONNECT_TIMEOUT: Nanos = Nanos::from_secs(300);

/// A close that waits for the record of a RST, or of its drop.
#[derive(Debug)]
struct AwaitingReset {
    endpoint: LiveEndpoint,
    outcome: MinisocketOutcome,
}

/// The core: takes events, results of probes and the time, and returns findings. It is pure: it has
/// no clock and does no I/O.
#[derive(Debug)]
pub struct Tracker {
    table: Table,
    parked: ParkedEndpoints,
    stale_closing: StaleClosing,
    /// What an earlier tracker has saved.
    unconfirmed: UnconfirmedEndpoints,
    ended_while_stopped: EndedWhileStopped,
    time_waits: TimeWaits,
    listeners: Listeners,
    stuck: Option<StuckDetector>,
    owners: Owners,
    /// Closes that wait for the record of a RST that was sent, or that was dropped, by the kernel's
    /// id of the socket, and in order of time.
    awaiting_reset: HashMap<EndpointId, AwaitingReset>,
    awaiting_reset_order: VecDeque<(Nanos, EndpointId)>,
    /// Endpoints whose peer may be opened on this host next.
    openings: Openings,
    unjoined: UnjoinedEndpoints,
    awaiting_peer: ClosesAwaitingPeer,
    filters_ports: bool,
    /// Whether the kernel reports the segments that minisockets receive.
    sees_segments: bool,
    /// Whether the kernel reports what this host drops of its own segments.
    sees_drops: bool,
    /// Endpoints in SYN_SENT, in order of time; only with a filter on local ports.
    connecting: VecDeque<(Nanos, EndpointId)>,
    findings: VecDeque<Finding>,
    evicted: u64,
    uncounted: UncountedLosses,
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
            parked: ParkedEndpoints::new(capacity),
            stale_closing: StaleClosing::default(),
            unconfirmed: UnconfirmedEndpoints::new(capacity),
            ended_while_stopped: EndedWhileStopped::default(),
            time_waits: TimeWaits::new(capacity),
            listeners: Listeners::default(),
            stuck: None,
            owners: Owners::default(),
            awaiting_reset: HashMap::new(),
            awaiting_reset_order: VecDeque::new(),
            openings: Openings::default(),
            unjoined: UnjoinedEndpoints::default(),
            awaiting_peer: ClosesAwaitingPeer::default(),
            filters_ports: false,
            sees_segments: false,
            sees_drops: false,
            connecting: VecDeque::new(),
            findings: VecDeque::new(),
            evicted: 0,
            uncounted: UncountedLosses::default(),
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

    /// Expects that the kernel reports the segments that this host drops before they leave: a close
    /// by a RST that answers a segment waits for that.
    #[must_use]
    pub fn with_drops(mut self) -> Self {
        self.sees_drops = true;
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
        self.parked.len()
    }

    /// Returns the state of a socket and when it was entered; `None` if that is not known.
    #[must_use]
    pub fn in_state_since(&self, id: EndpointId) -> Option<(TcpState, Nanos)> {
        let endpoint = self.table.get(id)?;
        Some((endpoint.state, endpoint.since.get()?))
    }

    /// Applies one input.
    pub fn apply(&mut self, input: &Input) {
        match input {
            Input::Event(event) => self.ingest(event),
            Input::Time(now) => self.tick(*now),
            Input::MinisocketProbe { id, minisocket, at } => {
                self.apply_minisocket_probe(*id, *minisocket, *at)
            }
            Input::StuckProbe(answers) => self.apply_stuck_probe(answers),
            Input::Poll(poll) => self.apply_poll(poll),
            Input::Snapshot { sockets, at } => self.seed(sockets, *at),
            Input::AliveSockets {
                namespaces,
                alive,
                began,
            } => self.resync(namespaces, alive, *began),
            Input::Loss(loss) => self.report_loss(*loss),
            Input::Restore(saved) => self.restore(saved),
            Input::RestoreEnd(end) => self.end_restore(end),
            Input::StartOver => self.start_over(),
            Input::Resume { saved, at } => self.resume(saved, *at),
        }
    }

    /// Takes one event, in the order of the ring buffer.
    fn ingest(&mut self, event: &Event) {
        // Findings must not depend on when the ring was read.
        match event {
            Event::Transition(transition) => {
                self.advance_to(transition.at);
                self.transition(transition);
            }
            Event::Signal(signal) => {
                self.advance_to(signal.at);
                self.signal(signal);
            }
        }
    }

    /// Lets time pass up to `now`, by which all earlier events must have been taken.
    fn tick(&mut self, now: Nanos) {
        self.advance_to(now);
        let mut ended = Vec::new();
        self.time_waits.continue_polls(now, &mut ended);
        self.report_ended(ended);
        self.drop_outdated_stuck_deadlines();
        self.report_some_ended_while_stopped();
        if self.evicted > 0 {
            let lost = std::mem::take(&mut self.evicted);
            self.findings.push_back(Finding::Loss(Loss {
                at: now,
                lost,
                location: LossLocation::Table,
                repaired: false,
                duration: None,
            }));
        }
    }

    /// Ends the waits that are over by `now`, each at its own time.
    fn advance_to(&mut self, now: Nanos) {
        while let Some((at, id)) = self.awaiting_reset_order.front().copied()
            && at + RESET_SIGNAL_TIMEOUT <= now
        {
            self.awaiting_reset_order.pop_front();
            if let Some(awaiting) = self.awaiting_reset.remove(&id) {
                self.end_wait_for_reset(awaiting, at + RESET_SIGNAL_TIMEOUT);
            }
        }
        if self.unjoined.next_due().is_some_and(|due| due <= now) {
            self.join_by_address();
        }
        while let Some(waiting) = self.awaiting_peer.take_due(now) {
            self.end_wait_for_peer(waiting);
        }
        if self.time_waits.next_tick().is_some_and(|at| at <= now) {
            let mut ended = Vec::new();
            self.time_waits.tick(now, &mut ended);
            self.report_ended(ended);
        }
        while let Some((at, key)) = self.connecting.front().copied()
            && at + UNBOUND_CONNECT_TIMEOUT <= now
        {
            self.connecting.pop_front();
            if self.filter_may_hide(at, key) {
                self.table.remove(key);
            }
        }
    }

    /// Returns whether an endpoint is still in the state that its connect() entered at `at`, so
    /// that the port filter may hide it.
    fn filter_may_hide(&self, at: Nanos, key: EndpointId) -> bool {
        let endpoint = self.table.get(key);
        endpoint.is_some_and(|endpoint| {
            endpoint.state == TcpState::SynSent && endpoint.since.get() == Some(at)
        })
    }

    /// Reports a loss that occurred outside the core, in order with the other findings.
    fn report_loss(&mut self, loss: Loss) {
        self.uncounted.note_loss(&loss);
        self.awaiting_peer.note_loss();
        self.findings.push_back(Finding::Loss(loss));
    }

    /// Returns how many transitions were found missing by `now` that no loss explains; they must be
    /// reported by an [`Input::Loss`].
    pub fn take_uncounted_losses(&mut self, now: Nanos) -> u64 {
        self.uncounted.take(now)
    }

    /// Returns when [`Input::Time`], [`Tracker::due_probes`] or [`Tracker::take_uncounted_losses`]
    /// next has an effect.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let reset_wait = self
            .awaiting_reset_order
            .front()
            .map(|(at, _)| *at + RESET_SIGNAL_TIMEOUT);
        reset_wait
            .into_iter()
            .chain(self.unjoined.next_due())
            .chain(self.awaiting_peer.next_due())
            .chain(self.parked.next_due())
            .chain(self.stale_closing.next_due())
            .chain(self.time_waits.next_due())
            .chain(self.time_waits.next_tick())
            .chain(self.next_stuck_probe())
            .chain(self.uncounted.next_due())
            .chain(self.ended_while_stopped.next_due())
            .min()
    }

    /// Returns the number of endpoints in TIME_WAIT that are followed.
    #[must_use]
    pub fn in_time_wait(&self) -> usize {
        self.time_waits.len()
    }

    /// Collects the polls that are due now; each must be answered by an [`Input::Poll`].
    pub fn due_polls(&mut self, now: Nanos, due: &mut Vec<PollRequest>) {
        due.clear();
        self.time_waits.take_due(now, due);
    }

    /// Takes the result of a poll. The following ticks apply the rest of a large one.
    fn apply_poll(&mut self, poll: &PollResponse) {
        let mut ended = Vec::new();
        self.time_waits.apply_poll(poll.clone(), &mut ended);
        self.report_ended(ended);
    }

    /// Reports the closes that still wait for the record of a RST, for their peer's close or for
    /// their turn. Call when no more inputs follow.
    pub fn end_waits(&mut self) {
        self.report_ended_while_stopped(usize::MAX);
        while let Some((at, id)) = self.awaiting_reset_order.pop_front() {
            if let Some(awaiting) = self.awaiting_reset.remove(&id) {
                self.end_wait_for_reset(awaiting, at);
            }
        }
        while let Some(waiting) = self.awaiting_peer.take_any() {
            self.report_waiting(waiting, false);
        }
    }

    /// Returns the next finding, in the order in which they were made.
    pub fn next_finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    fn report_ended(&mut self, ended: impl IntoIterator<Item = TimeWait>) {
        for time_wait in ended {
            self.findings
                .push_back(Finding::TimeWait(Box::new(time_wait)));
        }
    }
}
