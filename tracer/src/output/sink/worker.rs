//! The thread of an output: takes records from its queue to its receiver, and when that fails tries again, ever less
//! often, until it works.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::queue::{BATCH, Outage, Queue};
use super::transport::{Transport, Unavailable};

/// How long to leave a receiver alone after a failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    /// After the first; each further one is twice as long.
    pub(super) first: Duration,
    /// At most, which is also the longest time until a receiver that is back is noticed.
    pub(super) longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(30),
        }
    }
}

/// The longest pause when the program is about to end.
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// The longest that a receiver is left alone because it says so.
const LONGEST_RESPECT: Duration = Duration::from_secs(300);

/// Least time between two complaints about records that a receiver refuses.
const COMPLAINT_PERIOD: Duration = Duration::from_secs(60);

/// Says a sentence to whoever runs the program.
pub(super) type Say = Box<dyn FnMut(&str) + Send>;

/// The thread's own things.
pub(super) struct Worker {
    name: String,
    queue: Arc<Queue>,
    delivery: Box<dyn Transport>,
    say: Say,
    pauses: Pauses,
    pause: Duration,
    /// How many records had been dropped when the outage began.
    dropped_before: u64,
    complained: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        name: String,
        queue: Arc<Queue>,
        delivery: Box<dyn Transport>,
        say: Say,
        pauses: Pauses,
    ) -> Self {
        Self {
            name,
            queue,
            delivery,
            say,
            pauses,
            pause: pauses.first,
            dropped_before: 0,
            complained: None,
        }
    }

    /// Delivers records until no more will come and none waits. A panic is an outage that lasts
    /// until the output is started again.
    pub(super) fn run(mut self) {
        if panic::catch_unwind(AssertUnwindSafe(|| self.deliver_all())).is_err() {
            self.report_panic();
        }
    }

    fn deliver_all(&mut self) {
        if !self.open() {
            return;
        }
        while self.wait_for_work() {
            let mut state = self.queue.lock();
            let records = state.next(BATCH);
            state.busy = Some(Instant::now());
            drop(state);
            let progress = self.delivery.deliver(&records);
            let mut state = self.queue.lock();
            state.busy = None;
            state.done(progress.written, progress.failed);
            drop(state);
            if let Some(reason) = progress.refusal {
                self.complain(progress.failed, &reason);
            }
            if progress.written > 0 || progress.down.is_none() {
                self.pause = self.pauses.first;
            }
            match progress.down {
                None => self.works(),
                Some(down) => self.fails(down),
            }
        }
    }

    /// Tries until it is open. False when nobody wants that any more.
    fn open(&mut self) -> bool {
        let mut failed = false;
        loop {
            let state = self.queue.lock();
            if state.abandoned || (state.closing && state.is_empty()) {
                return false;
            }
            drop(state);
            match self.delivery.open() {
                Ok(()) => {
                    self.pause = self.pauses.first;
                    // That its receiver takes records shows when it has taken some.
                    if failed {
                        self.works();
                    }
                    return true;
                }
                Err(reason) => {
                    failed = true;
                    self.fails(reason.into());
                    let mut state = self.queue.lock();
                    if std::mem::take(&mut state.reopen) {
                        self.pause = self.pauses.first;
                        if let Some(delivery) = state.exchanged.take() {
                            self.delivery = delivery;
                        }
                    }
                }
            }
        }
    }

    /// Waits for records, or for the wish to reopen and fulfils it. False when there is nothing left to do.
    fn wait_for_work(&mut self) -> bool {
        let queue = Arc::clone(&self.queue);
        let mut state = queue.lock();
        loop {
            if state.abandoned {
                return false;
            }
            if std::mem::take(&mut state.reopen) {
                let exchanged = state.exchanged.take();
                drop(state);
                match exchanged {
                    None => self.reopen(),
                    Some(delivery) => {
                        self.delivery = delivery;
                        self.pause = self.pauses.first;
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
        let until = Instant::now() + self.delivery.patience();
        while state.len() < BATCH && !state.closing && !state.reopen && Instant::now() < until {
            state = queue.wait(state, Some(until));
        }
        true
    }

    fn reopen(&mut self) {
        self.pause = self.pauses.first;
        if let Err(reason) = self.delivery.reopen() {
            let name = &self.name;
            (self.say)(&format!(
                "output {name} could not be reopened, and goes on as before: {reason}"
            ));
        }
    }

    fn works(&mut self) {
        let mut state = self.queue.lock();
        let Some(outage) = state.outage.take() else {
            return;
        };
        let lost = state.counts().dropped - self.dropped_before;
        drop(state);
        let seconds = outage.since.elapsed().as_secs();
        let name = &self.name;
        (self.say)(&format!(
            "output {name} works again after {seconds} s; records dropped meanwhile: {lost}"
        ));
    }

    /// Notes the failure, and waits a while: shorter when the program ends, not at all when it should reopen.
    fn fails(&mut self, down: Unavailable) {
        let queue = Arc::clone(&self.queue);
        let mut state = queue.lock();
        let reason = down.reason;
        if let Some(outage) = &mut state.outage {
            outage.reason = reason;
        } else {
            self.dropped_before = state.counts().dropped;
            state.outage = Some(Outage {
                since: Instant::now(),
                reason: reason.clone(),
            });
            drop(state);
            let name = &self.name;
            (self.say)(&format!(
                "output {name} does not work: {reason}; records wait in its queue while it is tried again"
            ));
            state = queue.lock();
        }
        // Half of it by chance: many hosts lose the same receiver at the same moment.
        let pause = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.pause = (self.pause * 2).min(self.pauses.longest);
        let wanted = down.retry_after.unwrap_or_default().min(LONGEST_RESPECT);
        let start = Instant::now();
        loop {
            let mut whole = pause.max(wanted);
            if state.closing {
                whole = whole.min(LAST_PAUSE);
            }
            if state.reopen || state.abandoned || start.elapsed() >= whole {
                return;
            }
            state = queue.wait(state, Some(start + whole));
        }
    }

    /// What caused the panic is on stderr already: Rust's own message.
    fn report_panic(&mut self) {
        let reason = "its thread has ended, which is a fault of tcpclose";
        let mut state = self.queue.lock();
        state.busy = None;
        state.outage = Some(Outage {
            since: Instant::now(),
            reason: reason.to_owned(),
        });
        drop(state);
        let name = &self.name;
        (self.say)(&format!(
            "output {name} does not work: {reason}; the next SIGHUP starts it anew"
        ));
    }

    fn complain(&mut self, refused: usize, reason: &str) {
        let now = Instant::now();
        if self
            .complained
            .is_some_and(|last| now - last < COMPLAINT_PERIOD)
        {
            return;
        }
        self.complained = Some(now);
        let name = &self.name;
        (self.say)(&format!(
            "output {name} refused {refused} {} for good: {reason}; further ones are counted, and said once a minute at most",
            if refused == 1 { "record" } else { "records" }
        ));
    }
}

/// Notes the thread's end, even after a panic. It must outlive the [`Worker`]: an end that is noted
/// means that the file or connection is released.
pub(super) struct EndGuard {
    queue: Arc<Queue>,
    _alive: watch::Sender<()>,
}

impl EndGuard {
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

impl Drop for EndGuard {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.ended = true;
        drop(state);
        self.queue.wake();
    }
}
