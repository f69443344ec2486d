//! The thread of an output, with receivers that do as a script says.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::courier::Pauses;
use super::super::delivery::{Delivery, Down, Progress};
use super::super::*;
use crate::lifecycle::finding::{Close, Conn};
use crate::lifecycle::summary::{self, Summaries};
use crate::lifecycle::types::{ConnId, Nanos};
use crate::output::samples;

/// Longer than anything here takes on the slowest machine.
const LONG: Duration = Duration::from_secs(60);

fn long() -> Instant {
    Instant::now() + LONG
}

fn close(id: u64) -> Arc<Finding> {
    let sample = samples::three_way();
    Arc::new(Finding::Close(Box::new(Close {
        at: Nanos(id),
        conn: Conn {
            id: ConnId(id),
            ..sample.conn
        },
        ..sample
    })))
}

/// What a receiver does with one delivery: this many records are taken, this many refused, and then it may be down.
#[derive(Clone, Copy, Debug)]
struct Turn {
    written: usize,
    failed: usize,
    down: bool,
}

/// Does what its script says, then takes everything.
struct Scripted {
    turns: VecDeque<Turn>,
    got: Arc<Mutex<Vec<Arc<Finding>>>>,
}

impl Delivery for Scripted {
    fn deliver(&mut self, records: &[Arc<Finding>]) -> Progress {
        let turn = self.turns.pop_front().unwrap_or(Turn {
            written: usize::MAX,
            failed: 0,
            down: false,
        });
        let written = turn.written.min(records.len());
        let failed = turn.failed.min(records.len() - written);
        let got = records[..written].iter().cloned();
        self.got.lock().expect("no panic").extend(got);
        Progress {
            written,
            failed,
            refusal: (failed > 0).then(|| "it is not to its taste".to_owned()),
            down: turn.down.then(|| Down::from("it is gone".to_owned())),
        }
    }
}

/// Takes a record whenever it is allowed to.
struct Gate {
    allowed: Receiver<()>,
    got: Arc<Mutex<Vec<Arc<Finding>>>>,
}

impl Gate {
    fn new(allowed: Receiver<()>) -> Self {
        Self {
            allowed,
            got: Arc::default(),
        }
    }
}

impl Delivery for Gate {
    fn deliver(&mut self, records: &[Arc<Finding>]) -> Progress {
        // A gate that is gone stands open.
        let _ = self.allowed.recv();
        let mut got = self.got.lock().expect("no panic");
        got.push(Arc::clone(&records[0]));
        Progress {
            written: 1,
            ..Progress::default()
        }
    }
}

struct Started {
    sink: Sink,
    said: Receiver<String>,
}

fn start(config: &SinkConfig, delivery: impl Delivery + 'static) -> Started {
    let (ear, said) = mpsc::channel();
    let say = move |sentence: &str| drop(ear.send(sentence.to_owned()));
    let pauses = Pauses {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(4),
    };
    let sink = Sink::deliver(config, Box::new(delivery), Box::new(say), pauses).expect("a thread");
    Started { sink, said }
}

fn config(queue: usize) -> SinkConfig {
    SinkConfig {
        queue: NonZeroUsize::new(queue).expect("a capacity"),
        ..SinkConfig::new(Target::Stdout)
    }
}

fn gated(queue: usize) -> (Started, Sender<()>) {
    let (gate, closed) = mpsc::channel();
    (start(&config(queue), Gate::new(closed)), gate)
}

fn sum(counts: Counts) -> u64 {
    let Counts {
        offered: _,
        filtered,
        cut,
        dropped,
        written,
        failed,
        queued,
    } = counts;
    filtered + cut + dropped + written + failed + queued
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the receiver does, at any moment all that was offered is somewhere, nothing arrives twice, and what
    /// arrives is in order.
    #[test]
    fn the_counts_always_add_up(
        turns in prop::collection::vec((0_usize..4, 0_usize..2, prop::bool::weighted(0.3)), 0..12),
        queue in 1_usize..20,
        offers in 1_u64..200,
        limit in prop::option::of(1_u32..100),
        port in prop::bool::ANY,
    ) {
        // A turn that does nothing at all is one of a receiver that is down.
        let turns = turns.into_iter().map(|(written, failed, down)| Turn {
            written,
            failed,
            down: down || written + failed == 0,
        });
        let got = Arc::new(Mutex::new(Vec::new()));
        let scripted = Scripted { turns: turns.collect(), got: Arc::clone(&got) };
        let mut config = config(queue);
        config.rate_limit = limit.map(|limit| RateLimit {
            per_second: NonZeroU32::new(limit).expect("at least 1"),
            burst: None,
        });
        if port {
            config.filter.local_ports = [1].into();
        }
        let Started { mut sink, said: _said } = start(&config, scripted);
        for id in 0..offers {
            sink.offer(&close(id));
            let counts = sink.counts();
            prop_assert_eq!(counts.offered, sum(counts));
        }
        let counts = sink.finish(long());
        prop_assert_eq!(counts.offered, sum(counts));
        prop_assert_eq!(counts.queued, 0);
        let got = got.lock().expect("no panic");
        prop_assert_eq!(counts.written, got.len() as u64);
        let of_closes = |finding: &Finding| matches!(finding, Finding::Close(_)).then(|| finding.at());
        let ids: Vec<_> = got.iter().filter_map(|finding| of_closes(finding)).collect();
        prop_assert!(ids.is_sorted_by(|one, next| one < next));
        // Its own records of losses tell exactly of what was dropped, but for those that its receiver refused.
        let told: u64 = got.iter().map(|finding| match &**finding {
            Finding::Loss(loss) => loss.lost,
            _ => 0,
        }).sum();
        prop_assert!(told <= counts.dropped);
        if counts.failed == 0 {
            prop_assert_eq!(told, counts.dropped);
        }
        let closes = counts.offered - (got.len() - ids.len()) as u64;
        prop_assert!(closes >= offers);
    }
}

/// It tells of what was dropped, and the last one comes when a queue may be full.
#[test]
fn a_full_queue_has_room_for_summaries() {
    let summary = |at| {
        let mut summaries = Summaries::new(Nanos(0));
        let summary = summaries.end_interval(Nanos(at), summary::Surroundings::default());
        Arc::new(Finding::Summary(Box::new(summary)))
    };
    let (gate, closed) = mpsc::channel();
    let receiver = Gate::new(closed);
    let got = Arc::clone(&receiver.got);
    let Started { mut sink, said: _ } = start(&config(3), receiver);
    for id in 0..10 {
        sink.offer(&close(id));
    }
    sink.offer(&summary(10));
    sink.offer(&close(11));
    // Even so they are not without bound.
    for at in 12..1000 {
        sink.offer(&summary(at));
    }
    assert!(sink.counts().queued < 100, "{:?}", sink.counts());
    drop(gate);
    let counts = sink.finish(long());
    assert_eq!(counts.offered, sum(counts));
    let got = got.lock().expect("no panic");
    let kinds: Vec<Kind> = got
        .iter()
        .map(|finding| Kind::of(finding))
        .take(4)
        .collect();
    assert_eq!(
        kinds,
        [Kind::Close, Kind::Close, Kind::Close, Kind::Summary]
    );
    assert!(matches!(**got.last().expect("some"), Finding::Loss(_)));
}

#[test]
fn offers_never_wait_for_the_receiver() {
    let (
        Started {
            mut sink,
            said: _said,
        },
        gate,
    ) = gated(3);
    for id in 0..10 {
        sink.offer(&close(id));
    }
    let counts = sink.counts();
    assert_eq!((counts.queued, counts.dropped), (3, 7));
    drop(gate);
    let counts = sink.finish(long());
    // The fourth is the record of the loss.
    assert_eq!((counts.offered, counts.written, counts.dropped), (11, 4, 7));
}

#[test]
fn an_output_without_loss_records_counts_its_losses_all_the_same() {
    let (gate, closed) = mpsc::channel();
    let mut config = config(1);
    config.kinds = [Kind::Close].into();
    let Started {
        mut sink,
        said: _said,
    } = start(&config, Gate::new(closed));
    for id in 0..5 {
        sink.offer(&close(id));
    }
    drop::<Sender<()>>(gate);
    let counts = sink.finish(long());
    assert_eq!((counts.offered, counts.written, counts.dropped), (5, 1, 4));
}

#[test]
fn a_stuck_receiver_is_left_behind_and_what_it_did_not_take_is_lost() {
    let (
        Started {
            mut sink,
            said: _said,
        },
        gate,
    ) = gated(8);
    for id in 0..5 {
        sink.offer(&close(id));
    }
    let counts = sink.finish(Instant::now() + Duration::from_millis(20));
    assert_eq!((counts.offered, counts.written, counts.queued), (5, 0, 5));
    drop(gate);
}

#[test]
fn an_outage_is_said_once_and_so_is_its_end() {
    let down = Turn {
        written: 0,
        failed: 0,
        down: true,
    };
    let got = Arc::default();
    let scripted = Scripted {
        turns: [down; 5].into(),
        got: Arc::clone(&got),
    };
    let Started { mut sink, said } = start(&config(8), scripted);
    sink.offer(&close(1));
    let first = said.recv_timeout(LONG).expect("the outage is said");
    assert_eq!(
        first,
        "output stdout does not work: it is gone; records wait in its queue while it is tried again"
    );
    let second = said.recv_timeout(LONG).expect("its end is said");
    assert!(
        second.starts_with("output stdout works again after 0 s; records dropped meanwhile: 0")
    );
    assert!(sink.outage().is_none());
    assert_eq!(sink.finish(long()).written, 1);
    assert!(said.recv().is_err(), "nothing else is said");
}

#[test]
fn while_it_is_down_an_output_says_why() {
    let forever = Turn {
        written: 0,
        failed: 0,
        down: true,
    };
    let scripted = Scripted {
        turns: vec![forever; 100_000].into(),
        got: Arc::default(),
    };
    let Started { mut sink, said } = start(&config(2), scripted);
    assert!(sink.outage().is_none());
    for id in 0..5 {
        sink.offer(&close(id));
    }
    said.recv_timeout(LONG).expect("the outage is said");
    assert_eq!(sink.outage().expect("it is down").reason, "it is gone");
    let counts = sink.finish(Instant::now() + Duration::from_millis(20));
    assert_eq!((counts.queued, counts.dropped), (2, 3));
}

#[test]
fn a_receiver_that_never_comes_back_is_an_outage() {
    let (
        Started {
            mut sink,
            said: _said,
        },
        gate,
    ) = gated(3);
    sink.offer(&close(1));
    let until = long();
    while sink.queue.lock().busy.is_none() && Instant::now() < until {
        std::thread::yield_now();
    }
    assert!(sink.outage().is_none());
    let long_ago = Instant::now().checked_sub(Duration::from_secs(31));
    sink.queue.lock().busy = long_ago;
    let reason = sink.outage().expect("it is stuck").reason;
    assert_eq!(reason, "its receiver has taken nothing for 31 s");
    drop(gate);
    let until = long();
    while sink.outage().is_some() && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(sink.finish(long()).written, 1);
}

#[test]
fn refused_records_are_counted_and_said() {
    let refusing = Turn {
        written: 1,
        failed: 2,
        down: false,
    };
    let scripted = Scripted {
        turns: [refusing].into(),
        got: Arc::default(),
    };
    let (ear, said) = mpsc::channel();
    let sink = Sink::deliver(
        &config(8),
        Box::new(scripted),
        Box::new(move |sentence: &str| drop(ear.send(sentence.to_owned()))),
        Pauses::default(),
    );
    let mut sink = sink.expect("a thread");
    // All at once, so that the first delivery has three.
    {
        let mut state = sink.queue.lock();
        for id in 0..3 {
            let _ = state.push(&close(id));
        }
    }
    sink.offer(&close(3));
    sink.reopen();
    let said = said.recv_timeout(LONG).expect("the refusal is said");
    assert!(said.contains("refused 2 records for good: it is not to its taste"));
    let counts = sink.finish(long());
    assert_eq!((counts.written, counts.failed), (2, 2));
}

#[test]
fn summaries_and_losses_pass_a_rate_limit() {
    let mut config = config(100);
    config.rate_limit = Some(RateLimit {
        per_second: NonZeroU32::MIN,
        burst: None,
    });
    let scripted = Scripted {
        turns: VecDeque::new(),
        got: Arc::default(),
    };
    let Started {
        mut sink,
        said: _said,
    } = start(&config, scripted);
    let loss = Arc::new(Finding::Loss(crate::lifecycle::finding::Loss {
        at: Nanos(0),
        lost: 1,
        place: crate::lifecycle::finding::LossPlace::Ring,
        repaired: true,
    }));
    sink.offer(&close(1));
    for _ in 0..20 {
        sink.offer(&loss);
    }
    let counts = sink.finish(long());
    assert_eq!((counts.written, counts.cut), (21, 0));
}

#[test]
fn a_thread_that_fails_is_an_outage() {
    struct Failing;
    impl Delivery for Failing {
        fn deliver(&mut self, _: &[Arc<Finding>]) -> Progress {
            panic!("a fault that a test wants")
        }
    }
    let Started { mut sink, said } = start(&config(8), Failing);
    sink.offer(&close(1));
    assert!(said.recv().is_err(), "the thread has ended");
    let until = long();
    while sink.outage().is_none() && Instant::now() < until {
        std::thread::yield_now();
    }
    let reason = sink.outage().expect("it does not work").reason;
    assert!(reason.contains("its thread has ended"), "{reason}");
    assert_eq!(sink.finish(long()).queued, 1);
}

#[test]
fn the_end_of_what_was_told_passes_a_rate_limit() {
    let mut config = config(100);
    config.rate_limit = Some(RateLimit {
        per_second: NonZeroU32::MIN,
        burst: None,
    });
    let scripted = Scripted {
        turns: VecDeque::new(),
        got: Arc::default(),
    };
    let Started {
        mut sink,
        said: _said,
    } = start(&config, scripted);
    let leak = |stuck| Arc::new(Finding::Leak(Box::new(stuck)));
    for _ in 0..3 {
        sink.offer(&leak(samples::stuck()));
    }
    for _ in 0..3 {
        sink.offer(&leak(samples::resolved()));
    }
    let counts = sink.finish(long());
    assert_eq!((counts.written, counts.cut), (4, 2));
}

/// Is opened at the third try.
struct Shy(u32, Scripted);

impl Delivery for Shy {
    fn open(&mut self) -> Result<(), String> {
        self.0 += 1;
        if self.0 < 3 {
            return Err("it is shy".to_owned());
        }
        Ok(())
    }

    fn deliver(&mut self, records: &[Arc<Finding>]) -> Progress {
        assert_eq!(self.0, 3, "it was opened before");
        self.1.deliver(records)
    }
}

fn shy() -> Shy {
    Shy(
        0,
        Scripted {
            turns: VecDeque::new(),
            got: Arc::default(),
        },
    )
}

#[test]
fn what_cannot_be_opened_yet_is_an_outage_and_is_tried_again() {
    let Started { mut sink, said } = start(&config(8), shy());
    let next = || said.recv_timeout(LONG).expect("it is said");
    assert!(next().contains("does not work: it is shy"));
    sink.offer(&close(1));
    // Also when nothing comes.
    assert!(next().contains("works again"));
    assert!(sink.outage().is_none());
    assert_eq!(sink.finish(long()).written, 1);
}

#[test]
fn a_change_of_kinds_filter_limit_and_queue_keeps_what_waits_and_what_was_counted() {
    let closed = Turn {
        written: 0,
        failed: 0,
        down: true,
    };
    let got = Arc::default();
    let scripted = Scripted {
        turns: [closed; 3].into(),
        got: Arc::clone(&got),
    };
    let before = config(4);
    let Started { mut sink, said } = start(&before, scripted);
    sink.offer(&close(1));
    let _ = said.recv_timeout(LONG).expect("it is down");
    for id in 2..=6 {
        sink.offer(&close(id));
    }
    let after = SinkConfig {
        kinds: [Kind::Leak].into(),
        queue: NonZeroUsize::MIN,
        ..before.clone()
    };
    assert!(sink.can_become(&after));
    sink.change(&after, || unreachable!("it stays where it is"));
    sink.offer(&close(7));
    let elsewhere = SinkConfig {
        name: Some("another".to_owned()),
        ..before
    };
    assert!(!sink.can_become(&elsewhere));
    let counts = sink.finish(long());
    assert_eq!(counts.offered, 7);
    assert_eq!((counts.written, counts.dropped, counts.filtered), (4, 2, 1));
    assert_eq!(got.lock().expect("whole").len(), 4);
}
