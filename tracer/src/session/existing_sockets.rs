//! Learns which sockets were open before the programs were attached, and who holds them, while
//! records already come. A thread of its own takes snapshots and looks through /proc. Records of
//! the first moments are kept back until it has done so, because the core then knows of each
//! connection what it can before that closes. Where it takes longer they are passed on without.

use std::collections::VecDeque;
use std::io;

use super::owners;
use super::probe_thread::{ProbeThread, Work};
use super::snapshot::{SnapshotPart, SocketSnapshot};
use super::time_wait_overflow::TimeWaitOverflows;
use crate::notice::notice;
use crate::plural::plural;
use tcpclose_core::event::Event;
use tcpclose_core::types::{EndpointId, Nanos};
use tcpclose_core::{Input, SnapshotJoin, SnapshotSocket};
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::loader::TraceOptions;

/// How long records are kept back at most: most hosts need a tenth of that.
const MAX_KEEP_BACK_TIME: Nanos = Nanos::from_secs(2);

/// The most records that are kept back, each of some 250 bytes.
const MAX_KEPT_BACK: usize = 1 << 16;

/// The most sockets that are passed to the core at a time: some milliseconds, after which the rings
/// are read again.
const MAX_SOCKETS_AT_ONCE: usize = 4096;

/// What the thread does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LearnStep {
    /// A snapshot of all namespaces.
    Sockets,
    /// The holders of these sockets.
    Owners,
    /// A snapshot of the namespaces that only a descriptor keeps alive.
    SocketsByDescriptor,
}

/// What came of a step.
#[derive(Default)]
pub(super) struct Learnt {
    parts: Vec<SnapshotPart>,
    /// What could not be read, in sentences.
    unseen: Vec<String>,
    overflows: Option<TimeWaitOverflows>,
}

/// What is learnt at the start, until all of it is passed on.
pub(super) struct ExistingSockets {
    thread: ProbeThread<LearnStep, Learnt>,
    /// The steps without an answer.
    missing: usize,
    records: SnapshotJoin,
    /// `None` once records are passed on as they come.
    kept_back: Option<Vec<Event>>,
    kept_back_until: Nanos,
    /// The sockets that the core is to get, in order.
    waiting: VecDeque<SnapshotPart>,
    unseen: Vec<String>,
    overflows: Option<TimeWaitOverflows>,
    /// The number of sockets that the snapshots showed.
    found: usize,
    /// Whether it was said that not all is known.
    is_delay_told: bool,
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
        let make_work = move || -> Work<LearnStep, Learnt> {
            let mut learner = Learner::new(options.clone());
            Box::new(move |step| learner.run(*step))
        };
        let mut thread = ProbeThread::start("existing", make_work, given_up)?;
        let steps = [
            LearnStep::Sockets,
            LearnStep::Owners,
            LearnStep::SocketsByDescriptor,
        ];
        steps.into_iter().for_each(|step| thread.submit(step));
        Ok(Self {
            thread,
            missing: steps.len(),
            records: SnapshotJoin::default(),
            kept_back: Some(Vec::new()),
            kept_back_until: now() + MAX_KEEP_BACK_TIME,
            waiting: VecDeque::new(),
            unseen: Vec::new(),
            overflows: None,
            found: 0,
            is_delay_told: false,
        })
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

    /// Returns the name of the thread if it has panicked.
    pub fn failed(&self) -> Option<&'static str> {
        self.thread.failed()
    }

    /// Says, once, that what comes may not tell all yet.
    pub fn tell_delay(&mut self) {
        if self.kept_back.is_some() || self.is_delay_told || self.is_done() {
            return;
        }
        self.is_delay_told = true;
        notice!(
            "connections that were open before are still being looked up; until then, their closes may lack role and owner"
        );
    }

    /// Says what could not be read, and, if it took long, that all else is known.
    pub fn tell_end(&self) {
        for why in &self.unseen {
            notice!("connections that were open before are not seen where this failed: {why}");
        }
        if self.is_delay_told {
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

/// Returns the answer of a thread that has panicked.
fn given_up(step: &LearnStep) -> Learnt {
    let what = match step {
        LearnStep::Sockets | LearnStep::SocketsByDescriptor => "a snapshot of sockets",
        LearnStep::Owners => "the search for their holders",
    };
    Learnt {
        unseen: vec![format!(
            "{what} ended in a panic, which is a bug in tcpclose"
        )],
        ..Learnt::default()
    }
}

/// Does the steps, in its thread.
struct Learner {
    options: TraceOptions,
    snapshot: Option<SocketSnapshot>,
    /// Those of the snapshot's sockets that may have a holder.
    held: Vec<SnapshotSocket>,
}

impl Learner {
    const fn new(options: TraceOptions) -> Self {
        Self {
            options,
            snapshot: None,
            held: Vec::new(),
        }
    }

    fn run(&mut self, step: LearnStep) -> Learnt {
        match step {
            LearnStep::Sockets => self.find_sockets(),
            LearnStep::Owners => self.find_owners(),
            LearnStep::SocketsByDescriptor => self.find_sockets_by_descriptor(),
        }
    }

    fn find_sockets(&mut self) -> Learnt {
        let mut snapshot = SocketSnapshot::take(&self.options);
        let parts = std::mem::take(&mut snapshot.parts);
        let all = parts.iter().flat_map(|part| &part.sockets);
        let has_file = |id: &EndpointId| snapshot.inodes.contains_key(id);
        let held = all.filter(|socket| has_file(&socket.cookie));
        self.held = held.cloned().collect();
        let learnt = Learnt {
            parts,
            unseen: std::mem::take(&mut snapshot.unseen),
            overflows: Some(std::mem::take(&mut snapshot.overflows)),
        };
        self.snapshot = Some(snapshot);
        learnt
    }

    fn find_owners(&mut self) -> Learnt {
        let at = now();
        let held = std::mem::take(&mut self.held);
        let owned = match &self.snapshot {
            Some(snapshot) => owners::find_owners(&held, &snapshot.inodes),
            None => Vec::new(),
        };
        Learnt {
            parts: vec![SnapshotPart { at, sockets: owned }],
            ..Learnt::default()
        }
    }

    fn find_sockets_by_descriptor(&mut self) -> Learnt {
        let Some(snapshot) = self.snapshot.take() else {
            return Learnt::default();
        };
        let found = snapshot.take_by_descriptors(&self.options);
        Learnt {
            parts: found.parts,
            unseen: found.unseen,
            overflows: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpclose_common::TcpState;
    use tcpclose_core::SocketKind;
    use tcpclose_core::event::{Signal, SignalKind};
    use tcpclose_core::types::{NetNs, Tuple};

    /// Steps whose thread answers with one socket each, and finds nothing out.
    fn learning() -> ExistingSockets {
        let make_work = || -> Work<LearnStep, Learnt> {
            Box::new(|step| Learnt {
                parts: vec![SnapshotPart {
                    at: Nanos(1),
                    sockets: vec![socket(1 + *step as u64)],
                }],
                ..Learnt::default()
            })
        };
        let thread = ProbeThread::start("existing", make_work, given_up);
        ExistingSockets {
            thread: thread.expect("a thread"),
            missing: 2,
            records: SnapshotJoin::default(),
            kept_back: Some(Vec::new()),
            kept_back_until: Nanos(u64::MAX),
            waiting: VecDeque::new(),
            unseen: Vec::new(),
            overflows: None,
            found: 0,
            is_delay_told: false,
        }
    }

    fn socket(cookie: u64) -> SnapshotSocket {
        let end = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        SnapshotSocket {
            cookie: EndpointId(cookie),
            netns: NetNs::new(1).expect("it is not 0"),
            tuple: Tuple::from((end(80), end(cookie as u16))),
            state: TcpState::Established,
            kind: SocketKind::Full,
            owner: None,
        }
    }

    fn record(id: u64) -> Event {
        Event::Signal(Signal {
            at: Nanos(5),
            id: EndpointId(id),
            kind: SignalKind::FinRetransmitted,
        })
    }

    /// Waits for this number of inputs: `s` and the cookies of a snapshot, `e` and the id of an
    /// event.
    fn inputs(learning: &mut ExistingSockets, count: usize) -> Vec<String> {
        let mut taken = Vec::new();
        for _ in 0..10_000 {
            learning.advance(now(), &mut |input| taken.push(text(&input)));
            if taken.len() >= count {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        taken
    }

    fn text(input: &Input) -> String {
        match input {
            Input::Snapshot { sockets, .. } => {
                let cookies: Vec<_> = sockets.iter().map(|it| it.cookie.0.to_string()).collect();
                format!("s{}", cookies.join(","))
            }
            Input::Event(Event::Signal(signal)) => format!("e{}", signal.id.0),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn records_are_kept_back_until_all_is_known() {
        let mut learning = learning();
        let nothing: TakeInput<'_> = &mut |input| panic!("{input:?} must wait");
        learning.take_event(record(7), nothing);
        learning.thread.submit(LearnStep::Sockets);
        learning.thread.submit(LearnStep::Owners);
        assert_eq!(inputs(&mut learning, 3), ["s1", "s2", "e7"]);
        assert!(learning.is_done());
        let mut passed = Vec::new();
        learning.take_event(record(8), &mut |input| passed.push(text(&input)));
        assert_eq!(passed, ["e8"]);
    }

    #[test]
    fn records_are_not_kept_back_for_long() {
        let mut learning = learning();
        learning.take_event(record(7), &mut |_| {});
        learning.stop_keeping_back();
        assert_eq!(inputs(&mut learning, 1), ["e7"]);
        assert!(!learning.is_done());
        learning.thread.submit(LearnStep::Sockets);
        learning.thread.submit(LearnStep::SocketsByDescriptor);
        assert_eq!(inputs(&mut learning, 1), ["s1"]);
        assert_eq!(inputs(&mut learning, 1), ["s3"]);
        assert!(learning.is_done());
    }

    #[test]
    fn no_more_records_are_kept_back_than_there_is_room_for() {
        let mut learning = learning();
        let mut passed = 0;
        for _ in 0..MAX_KEPT_BACK {
            assert_eq!(passed, 0);
            learning.take_event(record(7), &mut |_| passed += 1);
        }
        assert_eq!(passed, MAX_KEPT_BACK);
        assert!(!learning.keeps_back());
    }

    #[test]
    fn a_large_part_is_passed_on_in_pieces() {
        let sockets: Vec<_> = (0..2 * MAX_SOCKETS_AT_ONCE as u64 + 1)
            .map(socket)
            .collect();
        let pieces = slices(SnapshotPart {
            at: Nanos(1),
            sockets,
        });
        let lengths: Vec<_> = pieces.map(|piece| piece.sockets.len()).collect();
        assert_eq!(lengths, [MAX_SOCKETS_AT_ONCE, MAX_SOCKETS_AT_ONCE, 1]);
    }
}
