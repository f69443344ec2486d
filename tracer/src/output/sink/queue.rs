//! The state that the event loop and an output's thread share: the waiting records and the counts.
//! One lock protects both, so that the counts add up at any time.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::gate::{Decision, Gate};
use super::transport::{DEFAULT_MAX_BATCH, Transport};
use crate::output_status::OutputCounts;
use crate::record::Record;
use tcpclose_core::finding::{Finding, Loss, LossLocation};
use tcpclose_core::types::Nanos;

/// Room behind a full queue for summaries alone: they report what was dropped, and the last summary
/// may come when the queue is full.
const SUMMARY_RESERVE: usize = 64;

/// A delivery that takes this long is an outage. It is longer than the timeout of any protocol.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// A time in which an output is down.
#[derive(Clone, Debug)]
pub struct Outage {
    /// When the outage began.
    pub since: Instant,
    /// The last failure.
    pub reason: String,
}

/// An output's queue, with a signal for changes.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

pub(super) struct State {
    records: VecDeque<Arc<Record>>,
    capacity: usize,
    counts: OutputCounts,
    /// The largest number of records in one delivery.
    pub(super) max_batch: usize,
    /// The number of records at the front that count as uncertain already.
    uncertain: usize,
    /// Whether the output carries `loss` records.
    carries_losses: bool,
    /// The number of dropped records that no `loss` record reports yet, and the time of the last
    /// one.
    unreported: Option<(u64, Nanos)>,
    pub(super) outage: Option<Outage>,
    /// Why the receiver last refused records for good.
    pub(super) refusal: Option<String>,
    /// When the current delivery began.
    pub(super) busy: Option<Instant>,
    pub(super) reopen: bool,
    /// The transport to use from the next reopening on.
    pub(super) replacement: Option<Box<dyn Transport>>,
    /// The gate to use from the next delivery on; the inner `None` is no gate.
    pub(super) new_gate: Option<Option<Gate>>,
    /// No more records will come.
    pub(super) closing: bool,
    /// Nothing waits for the thread any more; it must end without further deliveries.
    pub(super) abandoned: bool,
    /// The thread has ended, and its transport is dropped.
    pub(super) ended: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize, carries_losses: bool) -> Self {
        Self {
            state: Mutex::new(State {
                records: VecDeque::new(),
                capacity,
                counts: OutputCounts::default(),
                max_batch: DEFAULT_MAX_BATCH,
                uncertain: 0,
                carries_losses,
                unreported: None,
                outage: None,
                refusal: None,
                busy: None,
                reopen: false,
                replacement: None,
                new_gate: None,
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

    /// Waits for a change, at most until `until`. May return early.
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
    pub(super) fn counts(&self) -> OutputCounts {
        OutputCounts {
            queued: self.records.len() as u64,
            ..self.counts
        }
    }

    /// Returns the current outage. A receiver that blocks the thread reports no failure: its outage
    /// follows from the duration of the delivery.
    pub(super) fn outage(&self) -> Option<Outage> {
        let blocked = self
            .busy
            .filter(|since| since.elapsed() >= DELIVERY_TIMEOUT);
        let blocked = blocked.map(|since| Outage {
            since,
            reason: format!(
                "its receiver has accepted nothing for {} s",
                since.elapsed().as_secs()
            ),
        });
        self.outage.clone().or(blocked)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Applies new settings. Waiting records stay, even if the queue is shorter now.
    pub(super) fn reconfigure(&mut self, capacity: usize, carries_losses: bool) {
        self.capacity = capacity;
        self.carries_losses = carries_losses;
        if !carries_losses {
            self.unreported = None;
        }
    }

    /// Counts a record that is not wanted.
    pub(super) fn count_filtered(&mut self) {
        self.counts.offered += 1;
        self.counts.filtered += 1;
    }

    /// Counts a record that is over the rate limit.
    pub(super) fn count_rate_limited(&mut self) {
        self.counts.offered += 1;
        self.counts.rate_limited += 1;
    }

    /// Appends a record, or drops it if the queue is full. Returns whether the thread may be
    /// waiting for it.
    pub(super) fn push(&mut self, record: &Arc<Record>) -> bool {
        self.counts.offered += 1;
        let reserve = match **record {
            Record::Summary(_) => SUMMARY_RESERVE,
            _ => 0,
        };
        let has_room = self.records.len() < self.capacity + reserve;
        if has_room {
            self.records.push_back(Arc::clone(record));
        } else {
            self.counts.dropped += 1;
            if self.carries_losses {
                let lost = self.unreported.map_or(0, |(lost, _)| lost);
                self.unreported = Some((lost + 1, record.at()));
            }
        }
        has_room && (self.records.len() == 1 || self.records.len() == self.batch_goal())
    }

    /// Returns how many waiting records end the wait for more: no more than there is room for.
    pub(super) fn batch_goal(&self) -> usize {
        self.max_batch.min(self.capacity)
    }

    /// Returns the first records, at most `limit`. They stay queued until [`Self::complete`].
    pub(super) fn front(&self, limit: usize) -> Vec<Arc<Record>> {
        self.records.iter().take(limit).cloned().collect()
    }

    /// Removes those of the records after the first `skipped` that are not to be delivered.
    pub(super) fn remove_undeliverable(&mut self, skipped: usize, decisions: &[Decision]) {
        let mut at = skipped;
        for decision in decisions {
            match decision {
                Decision::Deliver => {
                    at += 1;
                    continue;
                }
                Decision::Filter => self.counts.filtered += 1,
                Decision::RateLimited => self.counts.rate_limited += 1,
            }
            self.records.remove(at);
            // It may have been sent, and its answer lost: it stays counted as uncertain.
            if at < self.uncertain {
                self.uncertain -= 1;
            }
        }
        self.report_dropped();
    }

    /// Counts the first records, which the receiver may have got without an answer; each once,
    /// however often it is sent.
    pub(super) fn count_uncertain(&mut self, records: usize) {
        self.counts.uncertain += records.saturating_sub(self.uncertain) as u64;
        self.uncertain = self.uncertain.max(records);
    }

    /// Removes the first records, and appends the report of those that were dropped meanwhile: it
    /// comes after all records that were offered before them.
    pub(super) fn complete(&mut self, written: usize, failed: usize) {
        self.records.drain(..written + failed);
        self.uncertain = self.uncertain.saturating_sub(written + failed);
        self.counts.written += written as u64;
        self.counts.failed += failed as u64;
        self.report_dropped();
    }

    /// Appends the report of dropped records, if there are any and it has room.
    fn report_dropped(&mut self) {
        if self.records.len() < self.capacity
            && let Some((lost, at)) = self.unreported.take()
        {
            let loss = Finding::Loss(Loss {
                at,
                lost,
                location: LossLocation::Output,
                repaired: false,
                duration: None,
            });
            self.push(&Arc::new(loss.into()));
        }
    }
}
