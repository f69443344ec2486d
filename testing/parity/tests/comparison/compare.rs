//! Records against closings.

use crate::segments::{segment, with_handshake};
use tcpclose_parity::closing::Closing;
use tcpclose_parity::compare::compare;
use tcpclose_parity::record::{RecordedClose, RecordedStep};
use tcpclose_parity::segment::Endpoint::{Client, Server};
use tcpclose_parity::verdict::{Judgement, Verdict};

fn step(from: &str, flags: &str, seq: u64, ack: u64) -> RecordedStep {
    RecordedStep {
        from: from.to_owned(),
        flags: flags.to_owned(),
        seq: Some(seq),
        ack: Some(ack),
        inferred: false,
    }
}

fn record(path: &str, initiator: &str, steps: Vec<RecordedStep>) -> RecordedClose {
    RecordedClose {
        path: path.to_owned(),
        initiator: initiator.to_owned(),
        segments: Some(steps.len() as u64),
        reset_by: None,
        steps,
        half_close: None,
    }
}

/// The client's FIN rides on twenty bytes.
fn three_way() -> Closing {
    Closing::from_segments(&with_handshake(&[
        segment(Client, "FA", 11, 1, 20),
        segment(Server, "FA", 1, 32, 0),
        segment(Client, "A", 32, 2, 0),
    ]))
}

/// As the client's endpoint reports it.
fn reported() -> RecordedClose {
    let steps = vec![
        step("local", "FIN,ACK", 11, 1),
        step("peer", "FIN,ACK", 1, 32),
        step("local", "ACK", 32, 2),
    ];
    record("three_way", "local", steps)
}

fn judged(change: impl FnOnce(&mut RecordedClose)) -> Judgement {
    let mut record = reported();
    change(&mut record);
    compare(&three_way(), Client, &record)
}

#[test]
fn the_record_of_each_endpoint_can_match() {
    assert_eq!(judged(|_| {}).verdict(), Verdict::Matched);
    let mut server = reported();
    server.initiator = "peer".to_owned();
    for step in &mut server.steps {
        let from = if step.from == "local" {
            "peer"
        } else {
            "local"
        };
        step.from = from.to_owned();
    }
    assert_eq!(
        compare(&three_way(), Server, &server).verdict(),
        Verdict::Matched
    );
}

#[test]
fn null_numbers_are_counted_and_contradict_nothing() {
    let judgement = judged(|record| {
        record.steps[1].seq = None;
        record.steps[2].ack = None;
    });
    assert_eq!(judgement.verdict(), Verdict::Matched);
    assert_eq!((judgement.numbers.reported, judgement.numbers.null), (4, 2));
}

#[test]
fn a_field_that_is_not_reported_is_unknown() {
    let unreported: [fn(&mut RecordedClose); 4] = [
        |record| record.path = "unknown".to_owned(),
        |record| record.initiator = "unknown".to_owned(),
        |record| record.segments = None,
        |record| drop(record.steps.remove(1)),
    ];
    for change in unreported {
        assert_eq!(judged(change).verdict(), Verdict::Unknown);
    }
}

#[test]
fn a_claim_of_fact_that_is_contradicted_is_wrong() {
    let untrue: [fn(&mut RecordedClose); 9] = [
        |record| record.path = "four_way".to_owned(),
        |record| record.initiator = "both".to_owned(),
        |record| record.segments = Some(4),
        |record| record.reset_by = Some("peer".to_owned()),
        |record| record.steps.push(step("peer", "ACK", 1, 32)),
        |record| record.steps.swap(0, 1),
        // The FIN's own number, not its segment's.
        |record| record.steps[0].seq = Some(31),
        |record| record.steps[1].ack = Some(31),
        |record| record.steps[1].flags = "RST,ACK".to_owned(),
    ];
    for (number, change) in untrue.into_iter().enumerate() {
        assert_eq!(judged(change).verdict(), Verdict::Wrong, "untruth {number}");
    }
}

#[test]
fn a_mistake_in_an_inferred_step_is_misjudged() {
    let judgement = judged(|record| {
        record.steps[2].inferred = true;
        record.steps[2].seq = Some(31);
    });
    assert_eq!(judgement.verdict(), Verdict::Misjudged);
    let right = judged(|record| record.steps[2].inferred = true);
    assert_eq!(right.verdict(), Verdict::Matched);
}

#[test]
fn each_endpoint_may_see_its_own_crossing_segment_first() {
    let closing = Closing::from_segments(&with_handshake(&[
        segment(Server, "FA", 1, 11, 0),
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "A", 2, 12, 0),
        segment(Client, "A", 12, 2, 0),
    ]));
    let steps = vec![
        step("local", "FIN,ACK", 11, 1),
        step("peer", "FIN,ACK", 1, 11),
        step("local", "ACK", 12, 2),
        step("peer", "ACK", 2, 12),
    ];
    let mut record = record("simultaneous", "both", steps);
    assert_eq!(
        compare(&closing, Client, &record).verdict(),
        Verdict::Matched
    );
    record.steps.swap(0, 2);
    let verdict = compare(&closing, Client, &record).verdict();
    assert_eq!(verdict, Verdict::Wrong, "an ACK before one's own FIN");
}

#[test]
fn an_endpoint_counts_the_fins_that_it_sent_again() {
    let segments = with_handshake(&[
        segment(Client, "FA", 11, 1, 0),
        segment(Client, "FA", 11, 1, 0),
        segment(Server, "FA", 1, 12, 0),
        segment(Server, "FA", 1, 12, 0),
        segment(Client, "A", 12, 2, 0),
    ]);
    let steps = vec![
        step("local", "FIN,ACK", 11, 1),
        step("peer", "FIN,ACK", 1, 12),
        step("local", "ACK", 12, 2),
    ];
    let mut record = record("three_way", "local", steps);
    for (count, verdict) in [
        (3, Verdict::Wrong),
        (4, Verdict::Matched),
        (5, Verdict::Wrong),
    ] {
        record.segments = Some(count);
        assert_eq!(
            compare(&Closing::from_segments(&segments), Client, &record).verdict(),
            verdict
        );
    }
}

#[test]
fn a_reset_without_ack_has_no_ack_number() {
    let closing = Closing::from_segments(&with_handshake(&[segment(Server, "R", 1, 0, 0)]));
    let mut record = record("reset", "peer", vec![step("peer", "RST", 1, 11)]);
    assert_eq!(compare(&closing, Client, &record).verdict(), Verdict::Wrong);
    record.steps[0].ack = None;
    let judgement = compare(&closing, Client, &record);
    assert_eq!(judgement.verdict(), Verdict::Matched);
    assert_eq!(judgement.numbers.null, 0, "there is nothing to know");
}

#[test]
fn a_record_may_know_why_its_endpoint_sent_a_reset() {
    let closing = Closing::from_segments(&with_handshake(&[segment(Client, "RA", 11, 1, 0)]));
    let verdict = |endpoint, path, by: &str| {
        let initiator = if endpoint == Client { "local" } else { "peer" };
        let mut reported = record(path, initiator, vec![step(initiator, "RST,ACK", 11, 1)]);
        reported.reset_by = Some(by.to_owned());
        compare(&closing, endpoint, &reported).verdict()
    };
    assert_eq!(verdict(Client, "destroyed", "local"), Verdict::Matched);
    assert_eq!(verdict(Client, "timeout", "local"), Verdict::Matched);
    assert_eq!(verdict(Server, "timeout", "peer"), Verdict::Wrong);
}

/// What scenarios assert is softer in one thing: whether an RST that was not seen had an ACK.
#[test]
fn scenarios_ignore_the_flags_of_an_inferred_reset() {
    let closing = Closing::from_segments(&with_handshake(&[segment(Server, "RA", 1, 11, 0)]));
    let mut record = record("reset", "peer", vec![step("peer", "RST", 1, 11)]);
    assert_eq!(closing.differences(Client, &record).len(), 1);
    record.steps[0].inferred = true;
    assert!(closing.differences(Client, &record).is_empty());
    assert_eq!(
        compare(&closing, Client, &record).verdict(),
        Verdict::Misjudged
    );
}
