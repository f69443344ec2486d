//! Learns which sockets were open before the programs were attached, and who holds them, while
//! records already come. A thread of its own takes snapshots and looks through /proc. Records of
//! the first moments are kept back until it has done so, because the core then knows of each
//! connection what it can before that closes. Where it takes longer they are passed on without.

mod finder;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::io;

use super::probe_thread::{ProbeThread, Work};
use super::snapshot::SnapshotPart;
use super::time_wait_overflow::TimeWaitOverflows;
use crate::notice::notice;
use crate::plural::plural;
use finder::{ExistingSocketFinder, SearchResult, SearchStep, given_up};
use tcpclose_core::event::Event;
use tcpclose_core::types::{Nanos, NetNs};
use tcpclose_core::{Input, SnapshotJoin};
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::loader::TraceOptions;

/// How long records are kept back at most: most hosts need a tenth of that.
const MAX_KEEP_BACK_TIME: Nanos = Nanos::from_secs(2);

/// The most records that are kept back, each of some 250 bytes.
const MAX_KEPT_BACK: usize = 1 << 16;

/// The most sockets that are passed to the core at a time: some milliseconds, after which the rings
/// are read again.
const MAX_SOCKETS_AT_ONCE: usize = 4096;

/// What is learnt at the start, until all of it is passed on.
pub(super) struct ExistingSockets {
    thread: ProbeThread<SearchStep, SearchResult>,
    /// The steps without an answer.
    missing: usize,
    records: SnapshotJoin,
    /// `None` once records are passed on as they come.
    kept_back: Option<Vec<Event>>,
    kept_back_until: Nanos,
    /// The sockets that the core is to get, in order.
    waiting: VecDeque<SnapshotPart>,
    unseen: Vec<String>,
    /// The namespaces whose sockets were all read.
    complete: HashSet<NetNs>,
    overflows: Option<TimeWaitOverflows>,
    /// The number of sockets that the snapshots showed.
    found: usize,
    /// Whether it was said that not all is known.
    is_delay_reported: bool,
}

/// Takes inputs for the core.
pub(super) type TakeInput<'a> = &'a mut dyn FnMut(Input);

impl ExistingSockets {
    /// Starts to learn.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(options: &TraceOptions) -> io::Result<Self> {
        let options = options.clone();
        let make_work = move || -> Work<SearchStep, SearchResult> {
            let mut learner = ExistingSocketFinder::new(options.clone());
            Box::new(move |step| learner.run(*step))
        };
        let mut thread = ProbeThread::start("existing", make_work, given_up)?;
        let steps = [
            SearchStep::Sockets,
            SearchStep::Owners,
            SearchStep::SocketsByDescriptor,
        ];
        steps.into_iter().for_each(|step| thread.submit(step));
        let kept_back_until = now() + MAX_KEEP_BACK_TIME;
        Ok(Self::new(thread, steps.len(), kept_back_until))
    }

    fn new(
        thread: ProbeThread<SearchStep, SearchResult>,
        missing: usize,
        kept_back_until: Nanos,
    ) -> Self {
        Self {
            thread,
            missing,
            records: SnapshotJoin::default(),
            kept_back: Some(Vec::new()),
            kept_back_until,
            waiting: VecDeque::new(),
            unseen: Vec::new(),
            complete: HashSet::new(),
            overflows: None,
            found: 0,
            is_delay_reported: false,
        }
    }

    /// Waits for the next answer. Safe to cancel.
    pub async fn wait_for_answer(&mut self) {
        self.thread.wait_for_answer().await;
    }

    /// Returns when [`Self::advance`] has something to do though nothing comes.
    pub fn next_deadline(&self) -> Option<Nanos> {
        match self.kept_back {
            Some(_) => Some(self.kept_back_until),
            None => (!self.waiting.is_empty()).then_some(Nanos(0)),
        }
    }

    /// Returns whether records are kept back, so that the core must not get the time either.
    pub const fn keeps_back(&self) -> bool {
        self.kept_back.is_some()
    }

    /// Keeps nothing back any longer: the session ends.
    pub fn stop_keeping_back(&mut self) {
        self.kept_back_until = Nanos(0);
    }

    /// Takes a record, and passes it on or keeps it back.
    pub fn take_event(&mut self, event: Event, take: TakeInput<'_>) {
        self.records.note(&event);
        match &mut self.kept_back {
            None => take(Input::Event(event)),
            Some(kept_back) => {
                kept_back.push(event);
                if kept_back.len() >= MAX_KEPT_BACK {
                    self.release(take);
                }
            }
        }
    }

    /// Takes the answers given by `until`, by when all records have been taken, and passes on what
    /// the core may get now.
    pub fn advance(&mut self, until: Nanos, take: TakeInput<'_>) {
        while let Some(learnt) = self.thread.take(until) {
            self.missing -= 1;
            self.found += learnt
                .parts
                .iter()
                .map(|part| part.sockets.len())
                .sum::<usize>();
            self.waiting
                .extend(learnt.parts.into_iter().flat_map(slices));
            self.unseen.extend(learnt.unseen);
            self.complete.extend(learnt.complete);
            self.overflows = learnt.overflows.or(self.overflows.take());
        }
        if self.kept_back.is_some() {
            if self.missing == 0 || now() >= self.kept_back_until {
                self.release(take);
            }
            return;
        }
        if let Some(part) = self.waiting.pop_front() {
            take(Input::Snapshot {
                sockets: self.records.after_records(part.sockets),
                at: part.at,
            });
        }
    }

    /// Passes on what is known of sockets, then the records that were kept back.
    fn release(&mut self, take: TakeInput<'_>) {
        for part in self.waiting.drain(..) {
            take(Input::Snapshot {
                sockets: self.records.before_records(part.sockets),
                at: part.at,
            });
        }
        let kept_back = self.kept_back.take();
        for event in kept_back.into_iter().flatten() {
            take(Input::Event(event));
        }
    }

    /// Takes the counts of overflows at the start, once they are known.
    pub fn take_overflows(&mut self) -> Option<TimeWaitOverflows> {
        self.overflows.take()
    }

    /// Returns whether the core has got everything.
    pub fn is_done(&self) -> bool {
        self.missing == 0 && self.kept_back.is_none() && self.waiting.is_empty()
    }

    /// Returns whether more records came than could be joined, so that another snapshot is needed.
    pub const fn is_incomplete(&self) -> bool {
        self.records.is_full()
    }

    /// Returns the namespaces whose sockets are all known, and whether these are all that there
    /// are.
    pub fn searched(&self) -> (HashSet<NetNs>, bool) {
        match self.is_incomplete() {
            true => (HashSet::new(), false),
            false => (self.complete.clone(), self.unseen.is_empty()),
        }
    }

    /// Returns the name of the thread if it has panicked.
    pub fn failed(&self) -> Option<&'static str> {
        self.thread.failed()
    }

    /// Says, once, that what comes may not tell all yet.
    pub fn report_delay(&mut self) {
        if self.kept_back.is_some() || self.is_delay_reported || self.is_done() {
            return;
        }
        self.is_delay_reported = true;
        notice!(
            "connections that were open before are still being looked up; until then, their closes may lack role and owner"
        );
    }

    /// Says what could not be read, and, if it took long, that all else is known.
    pub fn report_end(&self) {
        for why in &self.unseen {
            notice!("connections that were open before are not seen where this failed: {why}");
        }
        if self.is_delay_reported {
            let found = self.found;
            notice!(
                "what was open before is known now: {found} {}",
                plural(found as u64, "socket", "sockets")
            );
        }
    }
}

/// Cuts a part into pieces that the core takes at once.
fn slices(part: SnapshotPart) -> impl Iterator<Item = SnapshotPart> {
    let SnapshotPart { at, mut sockets } = part;
    std::iter::from_fn(move || {
        let rest = sockets.split_off(sockets.len().min(MAX_SOCKETS_AT_ONCE));
        let sockets = std::mem::replace(&mut sockets, rest);
        (!sockets.is_empty()).then_some(SnapshotPart { at, sockets })
    })
}
