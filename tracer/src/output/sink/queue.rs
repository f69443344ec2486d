//! What the event loop and an output's thread share: the waiting records, and the numbers, under one lock, so that they
//! add up whenever somebody looks.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::transport::Transport;
use crate::record::Record;
use tcpclose_core::finding::{Finding, Loss, LossLocation};
use tcpclose_core::types::Nanos;

/// Records handed over at once.
pub(super) const BATCH: usize = 512;

/// Room behind a full queue for summaries alone: they tell what was dropped, and the last one comes when a queue is full.
const ROOM_FOR_SUMMARIES: usize = 64;

/// How long a receiver may take for some records until that is called an outage: more than any time limit of a protocol.
const STUCK: Duration = Duration::from_secs(30);

/// What became of the records that an output was offered, up to now. `offered` is always the sum of all the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records offered, and `loss` records that the output wrote about itself.
    pub offered: u64,
    /// Not of a kind that it carries, or not what its filter asks for.
    pub filtered: u64,
    /// Cut off by its rate limit.
    pub cut: u64,
    /// Lost because its queue was full.
    pub dropped: u64,
    /// Handed to the receiver. What a receiver then does with them is its own affair.
    pub written: u64,
    /// Refused by the receiver for good.
    pub failed: u64,
    /// Waiting.
    pub queued: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.offered += other.offered;
        self.filtered += other.filtered;
        self.cut += other.cut;
        self.dropped += other.dropped;
        self.written += other.written;
        self.failed += other.failed;
        self.queued += other.queued;
    }
}

/// The time in which an output does not work.
#[derive(Clone, Debug)]
pub struct Outage {
    /// When it began.
    pub since: Instant,
    /// What failed last, on what.
    pub reason: String,
}

/// See the module.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

pub(super) struct State {
    records: VecDeque<Arc<Record>>,
    capacity: usize,
    counts: Counts,
    /// Whether the output carries `loss` records.
    tells_losses: bool,
    /// Dropped records that no `loss` record tells of yet, and when the last of them was found.
    untold: Option<(u64, Nanos)>,
    pub(super) outage: Option<Outage>,
    /// Since when records are being handed over.
    pub(super) busy: Option<Instant>,
    pub(super) reopen: bool,
    /// What is to deliver from the next reopening on.
    pub(super) exchanged: Option<Box<dyn Transport>>,
    /// No more records will come.
    pub(super) closing: bool,
    /// Nobody waits for the thread any more.
    pub(super) abandoned: bool,
    /// The thread is through.
    pub(super) ended: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize, tells_losses: bool) -> Self {
        Self {
            state: Mutex::new(State {
                records: VecDeque::new(),
                capacity,
                counts: Counts::default(),
                tells_losses,
                untold: None,
                outage: None,
                busy: None,
                reopen: false,
                exchanged: None,
                closing: false,
                abandoned: false,
                ended: false,
            }),
            changed: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        self.changed.notify_all();
    }

    /// Waits until something has changed, or the time has come. May return early.
    pub(super) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        match until {
            None => self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let span = until.saturating_duration_since(Instant::now());
                let (state, _) = self
                    .changed
                    .wait_timeout(state, span)
                    .unwrap_or_else(PoisonError::into_inner);
                state
            }
        }
    }
}

impl State {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            queued: self.records.len() as u64,
            ..self.counts
        }
    }

    /// A receiver that holds the thread up says nothing; time does.
    pub(super) fn outage(&self) -> Option<Outage> {
        let stuck = self.busy.filter(|since| since.elapsed() >= STUCK);
        let stuck = stuck.map(|since| Outage {
            since,
            reason: format!(
                "its receiver has taken nothing for {} s",
                since.elapsed().as_secs()
            ),
        });
        self.outage.clone().or(stuck)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// What holds from here on. What waits already stays, even where there is less room now.
    pub(super) fn change(&mut self, capacity: usize, tells_losses: bool) {
        self.capacity = capacity;
        self.tells_losses = tells_losses;
        if !tells_losses {
            self.untold = None;
        }
    }

    pub(super) fn filter_out(&mut self) {
        self.counts.offered += 1;
        self.counts.filtered += 1;
    }

    pub(super) fn cut_off(&mut self) {
        self.counts.offered += 1;
        self.counts.cut += 1;
    }

    /// Takes a record, or drops it where the queue is full. True when the thread may be waiting for it.
    pub(super) fn push(&mut self, record: &Arc<Record>) -> bool {
        self.counts.offered += 1;
        let more = match **record {
            Record::Summary(_) => ROOM_FOR_SUMMARIES,
            _ => 0,
        };
        let room = self.records.len() < self.capacity + more;
        if room {
            self.records.push_back(Arc::clone(record));
        } else {
            self.counts.dropped += 1;
            if self.tells_losses {
                let lost = self.untold.map_or(0, |(lost, _)| lost);
                self.untold = Some((lost + 1, record.at()));
            }
        }
        room && matches!(self.records.len(), 1 | BATCH)
    }

    /// The next records. They stay where they are until they are [`Self::done`].
    pub(super) fn next(&self, most: usize) -> Vec<Arc<Record>> {
        self.records.iter().take(most).cloned().collect()
    }

    /// Takes out the first records, and tells of those that were dropped meanwhile: behind all that came before them.
    pub(super) fn done(&mut self, written: usize, failed: usize) {
        self.records.drain(..written + failed);
        self.counts.written += written as u64;
        self.counts.failed += failed as u64;
        if self.records.len() < self.capacity
            && let Some((lost, at)) = self.untold.take()
        {
            let loss = Finding::Loss(Loss {
                at,
                lost,
                location: LossLocation::Output,
                repaired: false,
            });
            self.push(&Arc::new(loss.into()));
        }
    }
}
