//! The comparer's own tests: rows in, closings and differences out.

use super::closing::{Closing, End, Flags, Initiator, RecordedClose, RecordedStep, Row};
use End::{Client, Server};

/// A row from letters: S(yn), A(ck), F(in), R(st).
fn row(from: End, flags: &str, seq: u32, ack: u32, len: u32) -> Row {
    let has = |letter| flags.contains(letter);
    let flags = Flags {
        syn: has('S'),
        ack: has('A'),
        fin: has('F'),
        rst: has('R'),
    };
    Row {
        from,
        flags,
        seq,
        ack,
        len,
    }
}

fn step(from: &str, flags: &str, seq: u64, ack: u64) -> RecordedStep {
    RecordedStep {
        from: from.to_owned(),
        flags: flags.to_owned(),
        seq: Some(seq),
        ack: Some(ack),
        inferred: false,
    }
}

fn with_handshake(closing: &[Row]) -> Vec<Row> {
    let mut rows = vec![
        row(Client, "S", 0, 0, 0),
        row(Server, "SA", 0, 1, 0),
        row(Client, "A", 1, 1, 0),
        row(Client, "A", 1, 1, 10),
        row(Server, "A", 1, 11, 0),
    ];
    rows.extend_from_slice(closing);
    rows
}

#[test]
fn four_segments_are_found_behind_handshake_and_data() {
    let closing = Closing::of(&with_handshake(&[
        row(Server, "FA", 1, 11, 0),
        row(Client, "A", 11, 2, 0),
        row(Client, "FA", 11, 2, 0),
        row(Server, "A", 2, 12, 0),
    ]));
    assert_eq!(
        closing.to_string(),
        "server FIN,ACK; client ACK; client FIN,ACK; server ACK"
    );
    assert_eq!(closing.initiator, Initiator::One(Server));
    assert!(closing.repeated.is_empty());
}

#[test]
fn ack_and_fin_in_one_segment_make_three() {
    let closing = Closing::of(&with_handshake(&[
        row(Client, "FA", 11, 1, 0),
        row(Server, "FA", 1, 12, 0),
        row(Client, "A", 12, 2, 0),
    ]));
    assert_eq!(
        closing.to_string(),
        "client FIN,ACK; server FIN,ACK; client ACK"
    );
    assert_eq!(closing.initiator, Initiator::One(Client));
}

#[test]
fn fins_that_do_not_acknowledge_each_other_crossed() {
    let closing = Closing::of(&with_handshake(&[
        row(Client, "FA", 11, 1, 0),
        row(Server, "FA", 1, 11, 0),
        row(Server, "A", 2, 12, 0),
        row(Client, "A", 12, 2, 0),
    ]));
    assert_eq!(closing.initiator, Initiator::Both);
    assert_eq!(
        closing.to_string(),
        "client FIN,ACK; server FIN,ACK; server ACK; client ACK"
    );
}

#[test]
fn data_can_carry_a_fin_and_acknowledge_one() {
    let closing = Closing::of(&with_handshake(&[
        row(Client, "FA", 11, 1, 30),
        row(Server, "A", 1, 42, 500),
        row(Server, "A", 501, 42, 500),
        row(Server, "FA", 1001, 42, 0),
        row(Client, "A", 42, 1002, 0),
    ]));
    assert_eq!(
        closing.to_string(),
        "client FIN,ACK; server ACK; server FIN,ACK; client ACK"
    );
    assert_eq!(
        (closing.segments[0].0.len, closing.segments[1].0.len),
        (30, 500)
    );
}

#[test]
fn an_ack_of_less_than_the_fin_does_not_count() {
    let closing = Closing::of(&with_handshake(&[
        row(Client, "FA", 11, 1, 30),
        row(Server, "A", 1, 41, 0),
        row(Server, "A", 1, 42, 0),
    ]));
    assert_eq!(closing.segments.len(), 2);
    assert_eq!(closing.segments[1].0.ack, 42);
}

#[test]
fn a_fin_sent_again_counts_apart_and_so_does_its_second_ack() {
    let closing = Closing::of(&with_handshake(&[
        row(Client, "FA", 11, 1, 0),
        row(Client, "FA", 11, 1, 0),
        row(Server, "A", 1, 12, 0),
        row(Server, "A", 1, 12, 0),
    ]));
    assert_eq!(closing.to_string(), "client FIN,ACK; server ACK");
    assert_eq!(closing.repeated.len(), 1);
}

#[test]
fn a_reset_is_a_closing_segment_alone_or_behind_a_fin() {
    let alone = Closing::of(&with_handshake(&[row(Server, "RA", 1, 11, 0)]));
    assert_eq!(alone.to_string(), "server RST,ACK");
    assert_eq!(alone.initiator, Initiator::One(Server));

    let behind = Closing::of(&with_handshake(&[
        row(Client, "FA", 11, 1, 0),
        row(Server, "A", 1, 12, 5),
        row(Client, "R", 12, 0, 0),
        row(Client, "R", 12, 0, 0),
    ]));
    assert_eq!(behind.to_string(), "client FIN,ACK; server ACK; client RST");
    assert_eq!(behind.initiator, Initiator::One(Client));
    assert!(behind.repeated.is_empty());
}

#[test]
fn a_refused_connection_has_one_segment() {
    let closing = Closing::of(&[row(Client, "S", 0, 0, 0), row(Server, "RA", 1, 1, 0)]);
    assert_eq!(closing.to_string(), "server RST,ACK");
    assert_eq!(closing.initiator, Initiator::One(Server));
}

#[test]
fn an_open_connection_has_no_closing() {
    let closing = Closing::of(&with_handshake(&[]));
    assert_eq!(
        (closing.initiator, closing.segments.len()),
        (Initiator::Nobody, 0)
    );
}

fn three_way() -> Closing {
    Closing::of(&with_handshake(&[
        row(Client, "FA", 11, 1, 20),
        row(Server, "FA", 1, 32, 0),
        row(Client, "A", 32, 2, 0),
    ]))
}

#[test]
fn the_record_of_each_end_can_agree() {
    let client = RecordedClose {
        initiator: "local".to_owned(),
        segments: Some(3),
        steps: vec![
            step("local", "FIN,ACK", 31, 1),
            step("peer", "FIN,ACK", 1, 32),
            step("local", "ACK", 32, 2),
        ],
    };
    assert_eq!(
        three_way().differences(Client, &client),
        Vec::<String>::new()
    );

    let mut server = client.clone();
    server.initiator = "peer".to_owned();
    for step in &mut server.steps {
        step.from = if step.from == "local" {
            "peer"
        } else {
            "local"
        }
        .to_owned();
    }
    assert_eq!(
        three_way().differences(Server, &server),
        Vec::<String>::new()
    );
}

#[test]
fn what_is_not_known_contradicts_nothing() {
    let mut steps = vec![
        step("local", "FIN,ACK", 11, 1),
        step("peer", "FIN,ACK", 1, 32),
        step("local", "ACK", 32, 2),
    ];
    steps[1].seq = None;
    steps[2].ack = None;
    let record = RecordedClose {
        initiator: "local".to_owned(),
        segments: None,
        steps,
    };
    assert_eq!(
        three_way().differences(Client, &record),
        Vec::<String>::new()
    );
}

#[test]
fn of_crossing_segments_each_end_may_see_its_own_first() {
    let closing = Closing::of(&with_handshake(&[
        row(Client, "FA", 11, 1, 0),
        row(Server, "FA", 1, 11, 0),
        row(Server, "A", 2, 12, 0),
        row(Client, "A", 12, 2, 0),
    ]));
    let mut record = RecordedClose {
        initiator: "both".to_owned(),
        segments: Some(4),
        steps: vec![
            step("local", "FIN,ACK", 11, 1),
            step("peer", "FIN,ACK", 1, 11),
            step("local", "ACK", 12, 2),
            step("peer", "ACK", 2, 12),
        ],
    };
    assert_eq!(closing.differences(Client, &record), Vec::<String>::new());
    record.steps.swap(0, 2);
    assert!(
        !closing.differences(Client, &record).is_empty(),
        "an ACK before one's own FIN"
    );
}

#[test]
fn an_end_counts_its_own_repetitions() {
    let closing = Closing::of(&with_handshake(&[
        row(Client, "FA", 11, 1, 0),
        row(Client, "FA", 11, 1, 0),
        row(Server, "A", 1, 12, 0),
    ]));
    let steps = vec![step("local", "FIN,ACK", 11, 1), step("peer", "ACK", 1, 12)];
    let mut record = RecordedClose {
        initiator: "local".to_owned(),
        segments: Some(3),
        steps,
    };
    assert_eq!(closing.differences(Client, &record), Vec::<String>::new());
    record.segments = Some(2);
    assert_eq!(closing.differences(Client, &record).len(), 1);
}

#[test]
fn of_a_reset_that_it_did_not_see_a_record_may_miss_the_ack() {
    let closing = Closing::of(&with_handshake(&[row(Server, "RA", 1, 11, 0)]));
    let mut record = RecordedClose {
        initiator: "peer".to_owned(),
        segments: Some(1),
        steps: vec![step("peer", "RST", 1, 11)],
    };
    assert_eq!(closing.differences(Client, &record).len(), 1);
    record.steps[0].inferred = true;
    assert!(closing.differences(Client, &record).is_empty());
    record.steps[0].flags = "FIN,ACK".to_owned();
    assert_eq!(closing.differences(Client, &record).len(), 1);
}

#[test]
fn every_untruth_is_named() {
    let record = RecordedClose {
        initiator: "peer".to_owned(),
        segments: Some(4),
        steps: vec![
            step("local", "FIN,ACK", 30, 1),
            step("peer", "ACK", 1, 32),
            step("peer", "FIN,ACK", 1, 32),
            step("local", "ACK", 32, 2),
        ],
    };
    let differences = three_way().differences(Client, &record);
    for word in [
        "initiator",
        "segments",
        "steps",
        "step 0",
        "step 1",
        "step 2",
    ] {
        assert!(
            differences
                .iter()
                .any(|line| line.starts_with(&format!("{word}:"))),
            "{word} in {differences:?}"
        );
    }
}
