//! The thread of an output: it delivers the records of the queue to the receiver, and retries with
//! growing pauses when that fails.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::gate::{Decision, Gate};
use super::outage_messages::OutageMessages;
use super::queue::{Outage, Queue};
use super::transport::{Transport, Unavailable};
use crate::plural::plural;
use crate::record::Record;

/// The pauses between retries.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryDelays {
    /// The pause after the first failure; it doubles with each further one.
    pub(super) first: Duration,
    /// The longest pause, and so the longest time until a restored receiver is noticed.
    pub(super) longest: Duration,
}

impl Default for RetryDelays {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(30),
        }
    }
}

/// The longest pause of an output that is closing.
const LAST_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The longest pause that a receiver may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// The shortest time between two messages about refused records.
const REFUSAL_REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Shows a message to the operator.
pub(super) type Notify = Box<dyn FnMut(&str) + Send>;

/// The state of an output's thread.
pub(super) struct SinkThread {
    name: String,
    queue: Arc<Queue>,
    transport: Box<dyn Transport>,
    gate: Option<Gate>,
    /// The number of records at the front of the queue that the gate has let pass.
    passed: usize,
    notify: Notify,
    retry_delays: RetryDelays,
    pause: Duration,
    /// The number of records that had been dropped when the outage began.
    dropped_before: u64,
    outage_messages: OutageMessages,
    /// When refused records were last reported.
    last_refusal: Option<Instant>,
}

impl SinkThread {
    pub(super) fn new(
        name: String,
        queue: Arc<Queue>,
        transport: Box<dyn Transport>,
        notify: Notify,
        retry_delays: RetryDelays,
    ) -> Self {
        Self {
            name,
            queue,
            transport,
            gate: None,
            passed: 0,
            notify,
            retry_delays,
            pause: retry_delays.first,
            dropped_before: 0,
            outage_messages: OutageMessages::new(Instant::now()),
            last_refusal: None,
        }
    }

    /// Delivers records until no more will come and none waits. A panic is an outage that lasts
    /// until the output is started again.
    pub(super) fn run(mut self) {
        if panic::catch_unwind(AssertUnwindSafe(|| self.deliver_all())).is_err() {
            self.on_panic();
        }
    }

    fn deliver_all(&mut self) {
        if !self.open() {
            return;
        }
        while self.wait_for_work() {
            let records = self.next_records();
            if records.is_empty() {
                continue;
            }
            self.queue.lock().busy = Some(Instant::now());
            let delivered = self.transport.deliver(&records);
            let mut state = self.queue.lock();
            state.busy = None;
            state.count_uncertain(delivered.uncertain);
            state.complete(delivered.written, delivered.failed);
            drop(state);
            self.passed = self
                .passed
                .saturating_sub(delivered.written + delivered.failed);
            if let Some(reason) = delivered.refusal {
                self.on_refusal(delivered.failed, &reason);
            }
            if delivered.written > 0 || delivered.unavailable.is_none() {
                self.pause = self.retry_delays.first;
            }
            match delivered.unavailable {
                None => self.on_success(),
                Some(unavailable) => self.on_failure(unavailable),
            }
        }
    }

    /// Returns the records to be delivered next, after the gate has taken others out of the queue.
    fn next_records(&mut self) -> Vec<Arc<Record>> {
        let mut state = self.queue.lock();
        if let Some(gate) = state.new_gate.take() {
            self.gate = gate;
        }
        let max_batch = state.max_batch;
        let records = state.front(max_batch);
        let Some(gate) = &mut self.gate else {
            self.passed = 0;
            return records;
        };
        drop(state);
        // It reads files: the event loop must not wait for the queue meanwhile.
        let new = records.iter().skip(self.passed);
        let decisions: Vec<Decision> = new.map(|record| gate.decide(record)).collect();
        let mut state = self.queue.lock();
        state.remove_undeliverable(self.passed, &decisions);
        self.passed += decisions
            .iter()
            .filter(|decision| **decision == Decision::Deliver)
            .count();
        state.front(self.passed.min(max_batch))
    }

    /// Retries until the transport is open. Returns false if it is no longer needed.
    fn open(&mut self) -> bool {
        let mut has_failed = false;
        loop {
            let state = self.queue.lock();
            if state.abandoned || (state.closing && state.is_empty()) {
                return false;
            }
            drop(state);
            match self.transport.open() {
                Ok(()) => {
                    self.queue.lock().max_batch = self.transport.max_batch();
                    self.pause = self.retry_delays.first;
                    // Only deliveries show whether the receiver takes records.
                    if has_failed {
                        self.on_success();
                    }
                    return true;
                }
                Err(error) => {
                    has_failed = true;
                    self.on_failure(error.to_string().into());
                    let mut state = self.queue.lock();
                    if std::mem::take(&mut state.reopen) {
                        self.pause = self.retry_delays.first;
                        if let Some(transport) = state.replacement.take() {
                            self.transport = transport;
                        }
                    }
                }
            }
        }
    }

    /// Waits for records, and reopens the transport on request. Returns false if nothing is left to
    /// do.
    fn wait_for_work(&mut self) -> bool {
        let queue = Arc::clone(&self.queue);
        let mut state = queue.lock();
        loop {
            if state.abandoned {
                return false;
            }
            if std::mem::take(&mut state.reopen) {
                let replacement = state.replacement.take();
                drop(state);
                match replacement {
                    None => self.reopen(),
                    Some(transport) => {
                        self.transport = transport;
                        self.pause = self.retry_delays.first;
                        if !self.open() {
                            return false;
                        }
                    }
                }
                state = queue.lock();
            } else if !state.is_empty() {
                break;
            } else if state.closing {
                return false;
            } else {
                state = queue.wait(state, None);
            }
        }
        let until = Instant::now() + self.transport.batch_delay();
        while state.len() < state.batch_goal()
            && !state.closing
            && !state.reopen
            && Instant::now() < until
        {
            state = queue.wait(state, Some(until));
        }
        true
    }

    fn reopen(&mut self) {
        self.pause = self.retry_delays.first;
        if let Err(error) = self.transport.reopen() {
            let name = &self.name;
            (self.notify)(&format!(
                "output {name} could not be reopened, and goes on as before: {error}"
            ));
        }
    }

    /// Ends the outage, if there is one.
    fn on_success(&mut self) {
        let mut state = self.queue.lock();
        let Some(outage) = state.outage.take() else {
            return;
        };
        let lost = state.counts().dropped - self.dropped_before;
        drop(state);
        if !self.outage_messages.end() {
            return;
        }
        let seconds = outage.since.elapsed().as_secs();
        let name = &self.name;
        (self.notify)(&format!(
            "output {name} is up again after {seconds} s; records dropped meanwhile: {lost}"
        ));
    }

    /// Begins or continues the outage, and pauses: only briefly if the output is closing, and not
    /// at all if it must be reopened.
    fn on_failure(&mut self, unavailable: Unavailable) {
        let queue = Arc::clone(&self.queue);
        let mut state = queue.lock();
        let reason = unavailable.reason;
        let now = Instant::now();
        match &mut state.outage {
            Some(outage) => outage.reason.clone_from(&reason),
            None => {
                self.dropped_before = state.counts().dropped;
                state.outage = Some(Outage {
                    since: now,
                    reason: reason.clone(),
                });
            }
        }
        if let Some(unreported) = self.outage_messages.report(now) {
            drop(state);
            let name = &self.name;
            let others = match unreported {
                0 => String::new(),
                count => format!(
                    " ({count} {} since the last message)",
                    plural(count, "other outage", "other outages")
                ),
            };
            (self.notify)(&format!(
                "output {name} is down: {reason}; its records wait in the queue until a retry succeeds{others}"
            ));
            state = queue.lock();
        }
        // Half of the pause is random: many hosts lose the same receiver at the same moment.
        let pause = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.pause = (self.pause * 2).min(self.retry_delays.longest);
        let retry_after = unavailable.retry_after.unwrap_or_default();
        let whole = pause.max(retry_after.min(MAX_RETRY_AFTER));
        let start = Instant::now();
        loop {
            let end = if state.closing {
                start + whole.min(LAST_RETRY_DELAY)
            } else {
                start + whole
            };
            if state.reopen || state.abandoned || Instant::now() >= end {
                return;
            }
            state = queue.wait(state, Some(end));
        }
    }

    /// Begins an outage. The cause of the panic is on stderr already, in Rust's own message.
    fn on_panic(&mut self) {
        let reason = "its thread has panicked, which is a bug in tcpclose";
        let mut state = self.queue.lock();
        state.busy = None;
        state.outage = Some(Outage {
            since: Instant::now(),
            reason: reason.to_owned(),
        });
        drop(state);
        let name = &self.name;
        (self.notify)(&format!(
            "output {name} is down: {reason}; the next SIGHUP restarts it"
        ));
    }

    fn on_refusal(&mut self, refused: usize, reason: &str) {
        self.queue.lock().refusal = Some(reason.to_owned());
        let now = Instant::now();
        if self
            .last_refusal
            .is_some_and(|last| now - last < REFUSAL_REPORT_INTERVAL)
        {
            return;
        }
        self.last_refusal = Some(now);
        let name = &self.name;
        (self.notify)(&format!(
            "the receiver of output {name} refused {refused} {}, which {} not sent again: {reason}; further refusals are counted, and reported at most once a minute",
            plural(refused as u64, "record", "records"),
            plural(refused as u64, "is", "are")
        ));
    }
}

/// Notes that the thread has ended, even by a panic. It must outlive the [`SinkThread`]: a death
/// that is noted means that the file or connection is released.
pub(super) struct ExitNotice {
    queue: Arc<Queue>,
    _alive: watch::Sender<()>,
}

impl ExitNotice {
    /// Returns the guard, and the receiver that is closed when the thread has ended.
    pub(super) fn new(queue: Arc<Queue>) -> (Self, watch::Receiver<()>) {
        let (sender, receiver) = watch::channel(());
        let guard = Self {
            queue,
            _alive: sender,
        };
        (guard, receiver)
    }
}

impl Drop for ExitNotice {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.ended = true;
        drop(state);
        self.queue.wake();
    }
}
