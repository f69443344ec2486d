//! Batches whose answer is lost: the receiver may have them, and they are sent again.

use super::*;

/// Whatever lost the answer, the next attempt has the same bytes, and each record is counted once.
#[test]
fn an_unanswered_batch_is_sent_again_as_it_was_and_counted_as_uncertain() {
    let sleep = Answer::KeepAndSleep(Duration::from_secs(60));
    for (name, lost) in [
        ("no answer in time", vec![sleep; 2]),
        // The first of two is a connection that was idle for too long.
        ("hung up", vec![Answer::KeepAndHangUp; 4]),
    ] {
        let receiver = Receiver::start();
        receiver.will(lost.iter().copied());
        let (mut sink, messages) = start(&config(receiver.address, "timeout = '300ms'"));
        for id in 1..=100 {
            sink.offer(&close(id));
        }
        wait_until("all are written", || sink.counts().written == 100);
        let counts = sink.counts();
        assert_adds_up(counts);
        assert_eq!((counts.uncertain, counts.failed), (100, 0), "{name}");
        assert!(messages.all()[0].contains("is down: "), "{name}");
        let got = receiver.got();
        assert_eq!(got.bodies.len(), lost.len() + 1, "{name}");
        assert!(
            got.bodies.iter().all(|body| *body == got.bodies[0]),
            "{name}: the same bytes"
        );
        drop(got);
        sink.offer(&close(101));
        let counts = sink.finish(long());
        assert_eq!((counts.written, counts.uncertain), (101, 100), "{name}");
    }
}

#[test]
fn a_receiver_that_hangs_up_in_the_middle_gets_everything() {
    let receiver = Receiver::start();
    receiver.will([Answer::HangUp; 2]);
    let more = "compression = 'none'\nbatch = 5_000";
    let (mut sink, _) = start(&config(receiver.address, more));
    for id in 1..=5_000 {
        sink.offer(&close(id));
    }
    let counts = sink.finish(long());
    assert_adds_up(counts);
    assert_eq!(counts.written, 5_000);
    assert!(counts.uncertain > 0, "{counts:?}");
    assert!(receiver.got().ids().into_iter().eq(1..=5_000));
}

/// What is given up at the end may have arrived all the same.
#[test]
fn what_is_given_up_after_a_lost_answer_is_uncertain_too() {
    let receiver = Receiver::start();
    receiver.will([Answer::KeepAndHangUp; 100]);
    let (mut sink, messages) = start(&config(receiver.address, ""));
    sink.offer(&close(1));
    messages.wait_for("is down: ");
    let counts = sink.finish(Instant::now());
    assert_eq!((counts.queued, counts.uncertain), (1, 1));
}

/// A receiver that was restarted while nothing was to be sent is no outage.
#[test]
fn a_connection_that_went_while_idle_is_made_again_in_silence() {
    let (address, mut sink, messages) = start_and_kill_receiver();
    std::thread::sleep(Duration::from_millis(20));
    let second = Receiver::start_at(address);
    sink.offer(&close(2));
    let counts = sink.finish(long());
    assert_eq!((counts.written, counts.uncertain), (2, 0));
    assert_eq!(second.got().ids(), [2]);
    assert!(messages.all().is_empty(), "{:?}", messages.all());
}
