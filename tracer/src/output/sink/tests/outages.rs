//! Receivers that are down: reported once, and retried.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::super::sink_thread::RetryDelays;
use super::super::transport::{Delivered, Transport};
use super::super::*;
use super::receivers::{LONG, Scripted, Started, Turn, close, config, gated, long, start};

#[test]
fn an_outage_is_reported_once_and_so_is_its_end() {
    let Started { mut sink, messages } = start(&config(8), Scripted::new([Turn::DOWN; 5]));
    sink.offer(&close(1));
    let first = messages.recv_timeout(LONG).expect("the outage is reported");
    assert_eq!(
        first,
        "output stdout is down: it is gone; its records wait in the queue until a retry succeeds"
    );
    let second = messages.recv_timeout(LONG).expect("its end is reported");
    assert!(
        second.starts_with("output stdout is up again after 0 s; records dropped meanwhile: 0")
    );
    assert!(sink.outage().is_none());
    assert_eq!(sink.finish(long()).written, 1);
    assert!(messages.recv().is_err(), "nothing else is reported");
}

/// Each second delivery fails.
#[test]
fn of_a_receiver_that_fails_again_and_again_few_outages_are_reported() {
    const OUTAGES: u64 = 200;
    let accepts = Turn {
        written: 1,
        failed: 0,
        down: false,
    };
    let turns: Vec<Turn> = [Turn::DOWN, accepts].repeat(OUTAGES as usize);
    let Started { mut sink, messages } = start(&config(512), Scripted::new(turns));
    for id in 0..OUTAGES {
        sink.offer(&close(id));
    }
    assert_eq!(sink.finish(long()).written, OUTAGES);
    let messages: Vec<String> = messages.iter().collect();
    let count = |words: &str| messages.iter().filter(|it| it.contains(words)).count();
    assert_eq!(
        (count("is down"), count("is up again")),
        (5, 5),
        "{messages:?}"
    );
}

#[test]
fn while_an_output_is_down_the_reason_is_known() {
    let scripted = Scripted::new(vec![Turn::DOWN; 100_000]);
    let Started { mut sink, messages } = start(&config(2), scripted);
    assert!(sink.outage().is_none());
    for id in 0..5 {
        sink.offer(&close(id));
    }
    messages.recv_timeout(LONG).expect("the outage is reported");
    assert_eq!(sink.outage().expect("it is down").reason, "it is gone");
    let counts = sink.finish(Instant::now() + Duration::from_millis(20));
    assert_eq!((counts.queued, counts.dropped), (2, 3));
}

#[test]
fn a_receiver_that_never_comes_back_is_an_outage() {
    let (
        Started {
            mut sink,
            messages: _messages,
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
    assert_eq!(reason, "its receiver has accepted nothing for 31 s");
    drop(gate);
    let until = long();
    while sink.outage().is_some() && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(sink.finish(long()).written, 1);
}

#[test]
fn refused_records_are_counted_and_reported() {
    let refusing = Turn {
        written: 1,
        failed: 2,
        down: false,
    };
    let scripted = Scripted::new([refusing]);
    let (sender, messages) = mpsc::channel();
    let sink = Sink::spawn(
        &config(8),
        Box::new(scripted),
        LastAccepted::default(),
        Box::new(move |message: &str| drop(sender.send(message.to_owned()))),
        RetryDelays::default(),
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
    let message = messages
        .recv_timeout(LONG)
        .expect("the refusal is reported");
    assert!(message.contains("refused 2 records, which are not sent again: it is malformed"));
    let counts = sink.finish(long());
    assert_eq!((counts.written, counts.failed), (2, 2));
}

#[test]
fn a_panic_is_an_outage_and_the_output_cannot_be_adopted_any_more() {
    struct Panicking;
    impl Transport for Panicking {
        fn deliver(&mut self, _: &[Arc<Record>]) -> Delivered {
            panic!("a fault that a test wants")
        }
    }
    let config = config(8);
    let Started { mut sink, messages } = start(&config, Panicking);
    assert!(sink.can_adopt(&config));
    sink.offer(&close(1));
    let message = messages.recv_timeout(LONG).expect("the panic is reported");
    assert_eq!(
        message,
        "output stdout is down: its thread has panicked, which is a bug in tcpclose; the next SIGHUP restarts it"
    );
    assert!(messages.recv().is_err(), "nothing else is reported");
    let reason = sink.outage().expect("it does not work").reason;
    assert!(reason.contains("its thread has panicked"), "{reason}");
    let until = long();
    while sink.can_adopt(&config) && Instant::now() < until {
        std::thread::yield_now();
    }
    assert!(!sink.can_adopt(&config));
    assert_eq!(sink.finish(long()).queued, 1);
}

/// Can be opened at the third attempt.
struct OpensAtThirdAttempt(u32, Scripted);

impl Transport for OpensAtThirdAttempt {
    fn open(&mut self) -> Result<(), DestinationError> {
        self.0 += 1;
        if self.0 < 3 {
            return Err(DestinationError::Locked);
        }
        Ok(())
    }

    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        assert_eq!(self.0, 3, "it was opened before");
        self.1.deliver(records)
    }
}

fn opens_at_third_attempt() -> OpensAtThirdAttempt {
    OpensAtThirdAttempt(0, Scripted::new([]))
}

#[test]
fn a_destination_that_cannot_be_opened_yet_is_an_outage_and_is_retried() {
    let Started { mut sink, messages } = start(&config(8), opens_at_third_attempt());
    let next = || messages.recv_timeout(LONG).expect("it is reported");
    assert!(next().contains("is down: another program writes to it"));
    sink.offer(&close(1));
    // Even without further records.
    assert!(next().contains("is up again"));
    assert!(sink.outage().is_none());
    assert_eq!(sink.finish(long()).written, 1);
}
