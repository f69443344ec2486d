//! Records on their way through an output's thread: each is counted once.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::*;
use super::receivers::{Gate, LONG, Scripted, Started, Turn, close, config, gated, long, start};
use crate::output::samples;
use crate::summary::{IntervalEnd, Summarizer};
use tcpclose_core::finding::Finding;
use tcpclose_core::summary::IntervalContext;
use tcpclose_core::types::Nanos;

fn sum(counts: OutputCounts) -> u64 {
    let OutputCounts {
        offered: _,
        filtered,
        rate_limited,
        dropped,
        written,
        failed,
        queued,
        uncertain: _,
    } = counts;
    filtered + rate_limited + dropped + written + failed + queued
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the receiver does, at any time every offered record is counted, no record arrives
    /// twice, and records arrive in order.
    #[test]
    fn the_counts_always_add_up(
        turns in prop::collection::vec((0_usize..4, 0_usize..2, prop::bool::weighted(0.3)), 0..12),
        queue in 1_usize..20,
        offers in 1_u64..200,
        limit in prop::option::of(1_u32..100),
        port in prop::bool::ANY,
    ) {
        // A receiver that neither accepts nor refuses anything is down.
        let turns = turns.into_iter().map(|(written, failed, down)| Turn {
            written,
            failed,
            down: down || written + failed == 0,
        });
        let scripted = Scripted::new(turns.collect::<VecDeque<_>>());
        let got = Arc::clone(&scripted.got);
        let mut config = config(queue);
        config.rate_limit = limit.map(|limit| RateLimit {
            per_second: NonZeroU32::new(limit).expect("at least 1"),
            burst: None,
        });
        if port {
            config.filter.local_ports = [1].into();
        }
        let Started { mut sink, messages: _messages } = start(&config, scripted);
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
        let of_closes = |record: &Record| {
            matches!(record, Record::Finding(Finding::Close(_))).then(|| record.at())
        };
        let ids: Vec<_> = got.iter().filter_map(|record| of_closes(record)).collect();
        prop_assert!(ids.is_sorted_by(|one, next| one < next));
        // Its loss records report exactly what was dropped, except those that the receiver refused.
        let reported: u64 = got.iter().map(|record| match &**record {
            Record::Finding(Finding::Loss(loss)) => loss.lost,
            _ => 0,
        }).sum();
        prop_assert!(reported <= counts.dropped);
        if counts.failed == 0 {
            prop_assert_eq!(reported, counts.dropped);
        }
        let closes = counts.offered - (got.len() - ids.len()) as u64;
        prop_assert!(closes >= offers);
    }
}

/// Summaries report what was dropped, and the last one may come when the queue is full.
#[test]
fn a_full_queue_has_room_for_summaries() {
    let summary = |at| {
        let mut summarizer = Summarizer::new(Nanos(0));
        let end = IntervalEnd {
            at: Nanos(at),
            ..IntervalEnd::default()
        };
        let summary = summarizer.end_interval(end, IntervalContext::default());
        Arc::new(Record::Summary(Box::new(summary)))
    };
    let (gate, closed) = mpsc::channel();
    let receiver = Gate::new(closed);
    let got = Arc::clone(&receiver.got);
    let Started {
        mut sink,
        messages: _,
    } = start(&config(3), receiver);
    for id in 0..10 {
        sink.offer(&close(id));
    }
    sink.offer(&summary(10));
    sink.offer(&close(11));
    // The reserve for summaries is bounded.
    for at in 12..1000 {
        sink.offer(&summary(at));
    }
    assert!(sink.counts().queued < 100, "{:?}", sink.counts());
    drop(gate);
    let counts = sink.finish(long());
    assert_eq!(counts.offered, sum(counts));
    let got = got.lock().expect("no panic");
    let kinds: Vec<RecordKind> = got
        .iter()
        .map(|finding| RecordKind::from_record(finding))
        .take(4)
        .collect();
    assert_eq!(
        kinds,
        [
            RecordKind::Close,
            RecordKind::Close,
            RecordKind::Close,
            RecordKind::Summary
        ]
    );
    assert!(matches!(
        **got.last().expect("some"),
        Record::Finding(Finding::Loss(_))
    ));
}

#[test]
fn offers_never_wait_for_the_receiver() {
    let (
        Started {
            mut sink,
            messages: _messages,
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
    config.kinds = [RecordKind::Close].into();
    let Started {
        mut sink,
        messages: _messages,
    } = start(&config, Gate::new(closed));
    for id in 0..5 {
        sink.offer(&close(id));
    }
    drop::<Sender<()>>(gate);
    let counts = sink.finish(long());
    assert_eq!((counts.offered, counts.written, counts.dropped), (5, 1, 4));
}

#[test]
fn a_stuck_receiver_is_abandoned_and_its_records_are_lost() {
    let (
        Started {
            mut sink,
            messages: _messages,
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
fn summaries_and_losses_pass_a_rate_limit() {
    let mut config = config(100);
    config.rate_limit = Some(RateLimit {
        per_second: NonZeroU32::MIN,
        burst: None,
    });
    let scripted = Scripted::new([]);
    let Started {
        mut sink,
        messages: _messages,
    } = start(&config, scripted);
    let loss = Finding::Loss(tcpclose_core::finding::Loss {
        at: Nanos(0),
        lost: 1,
        location: tcpclose_core::finding::LossLocation::Ring,
        repaired: true,
        duration: None,
    });
    let loss = Arc::new(loss.into());
    sink.offer(&close(1));
    for _ in 0..20 {
        sink.offer(&loss);
    }
    let counts = sink.finish(long());
    assert_eq!((counts.written, counts.rate_limited), (21, 0));
}

#[test]
fn the_end_of_a_stuck_socket_passes_a_rate_limit() {
    let mut config = config(100);
    config.rate_limit = Some(RateLimit {
        per_second: NonZeroU32::MIN,
        burst: None,
    });
    let scripted = Scripted::new([]);
    let Started {
        mut sink,
        messages: _messages,
    } = start(&config, scripted);
    let leak = |stuck| Arc::new(Finding::Stuck(Box::new(stuck)).into());
    for _ in 0..3 {
        sink.offer(&leak(samples::stuck()));
    }
    for _ in 0..3 {
        sink.offer(&leak(samples::resolved()));
    }
    let counts = sink.finish(long());
    assert_eq!((counts.written, counts.rate_limited), (4, 2));
}

#[test]
fn changed_settings_keep_waiting_records_and_counts() {
    let scripted = Scripted::new([Turn::DOWN; 3]);
    let got = Arc::clone(&scripted.got);
    let before = config(4);
    let Started { mut sink, messages } = start(&before, scripted);
    sink.offer(&close(1));
    let _ = messages.recv_timeout(LONG).expect("it is down");
    for id in 2..=6 {
        sink.offer(&close(id));
    }
    let after = SinkConfig {
        kinds: [RecordKind::Stuck].into(),
        queue: NonZeroUsize::MIN,
        ..before.clone()
    };
    assert!(sink.can_adopt(&after));
    sink.adopt(&after, || panic!("the destination stays the same"));
    sink.offer(&close(7));
    let elsewhere = SinkConfig {
        name: Some("another".to_owned()),
        ..before
    };
    assert!(!sink.can_adopt(&elsewhere));
    let counts = sink.finish(long());
    assert_eq!(counts.offered, 7);
    assert_eq!((counts.written, counts.dropped, counts.filtered), (4, 2, 1));
    assert_eq!(got.lock().expect("whole").len(), 4);
}

/// An output for one container that another one's records come to as well.
#[test]
fn records_of_other_containers_are_taken_out_of_the_queue_and_counted() {
    use super::super::gate::Gate as ContainerGate;
    use crate::output::samples::OneCgroup;
    use tcpclose_core::container_filter::ContainerFilter;
    use tcpclose_core::process::Container;

    let container = Container {
        runtime: "docker",
        id: "0123456789abcdef".to_owned(),
        pod: None,
        names: None,
    };
    let filter = ContainerFilter {
        containers: ["0123456789ab".to_owned()].into(),
        ..ContainerFilter::default()
    };
    let limit = RateLimit {
        per_second: NonZeroU32::MIN,
        burst: NonZeroU32::new(10),
    };
    let bucket = TokenBucket::new(limit, Instant::now());
    let cgroups = Box::new(OneCgroup::new("/docker/x", Some(container)));
    let gate = ContainerGate::new(&filter, Some(bucket)).expect("it lets not all pass");

    let (open, closed) = mpsc::channel();
    let receiver = Gate::new(closed);
    let got = Arc::clone(&receiver.got);
    let mut config = config(1_000);
    config.filter.containers = filter;
    let Started {
        mut sink,
        messages: _messages,
    } = start(&config, receiver);
    sink.queue.lock().new_gate = Some(Some(gate.with_cgroups(cgroups)));
    let of = |id: u64, owner| {
        let mut close = samples::three_way();
        (close.at, close.owner) = (Nanos(id), owner);
        Arc::new(Record::from(Finding::Close(Box::new(close))))
    };
    for id in 0..900 {
        // One in three belongs to the container; who owns the others is not known.
        let owner = samples::owner(7, b"web").filter(|_| id % 3 == 0);
        sink.offer(&of(id, owner));
    }
    drop(open);
    let counts = sink.finish(long());
    let got: Vec<u64> = got
        .lock()
        .expect("no panic")
        .iter()
        .map(|record| record.at().0)
        .collect();
    // The tokens are taken by what is wanted alone, one a second is added.
    assert!(got.len() >= 10 && got.len() < 100, "{got:?}");
    assert!(got[..10].iter().copied().eq((0..30).step_by(3)), "{got:?}");
    assert_eq!((counts.filtered, counts.queued), (600, 0));
    assert_eq!(
        (counts.written, counts.rate_limited),
        (got.len() as u64, 300 - got.len() as u64)
    );
    assert_eq!(counts.offered, sum(counts));
}
