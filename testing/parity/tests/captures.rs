//! Captures kept in the tree, made by tcpdump at both endpoints of a few closes, with what tcpclose
//! reported them then. In the lossy ones FINs and ACKs got lost, and tcpclose was mistaken twice.

use std::fs;
use std::path::{Path, PathBuf};

use tcpclose_kit::skip::has_programs;
use tcpclose_parity::closing::Closing;
use tcpclose_parity::compare::compare;
use tcpclose_parity::pairing::{has_socket, pair};
use tcpclose_parity::record::Record;
use tcpclose_parity::segment::Endpoint;
use tcpclose_parity::tshark;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/captures")
        .join(name)
}

/// Each connection captured at one endpoint: how it closed, the FINs this endpoint sent again, and
/// what the record is worth.
fn compare_capture(name: &str, endpoint: Endpoint) -> Vec<String> {
    let streams = tshark::read(
        Path::new("tshark"),
        &file(&format!("{name}-{endpoint}.pcap")),
    );
    let lines = fs::read_to_string(file(&format!("{name}-{endpoint}.jsonl"))).expect("the records");
    let parse = |line| Record::parse(line).expect("a record").expect("of a close");
    let pairs = pair(
        streams.expect("a capture"),
        endpoint,
        lines.lines().map(parse).collect(),
    );
    assert!(
        pairs.strays.is_empty() && pairs.unsent.is_empty(),
        "{pairs:?}"
    );
    let compare = |(stream, record): &(tshark::Stream, Option<Record>)| {
        let closing = Closing::at(&stream.segments(), endpoint);
        let path = closing.path().unwrap_or("not closed");
        let verdict = match record {
            Some(record) => format!("{:?}", compare(&closing, endpoint, &record.close).verdict()),
            None => format!("no record, socket: {}", has_socket(stream, endpoint)),
        };
        format!(
            "{path}: {closing}; {} again; {verdict}",
            closing.repeated_by(endpoint)
        )
    };
    pairs.streams.iter().map(compare).collect()
}

#[test]
fn closes_without_losses_agree_on_both_sides() {
    if !has_programs(&["tshark"]) {
        return;
    }
    let expected = [
        "reset: client FIN,ACK; server ACK; server RST,ACK; 0 again; Matched",
        "reset: server FIN,ACK; client ACK; client RST,ACK; 0 again; Matched",
        "reset: client FIN,ACK; server RST,ACK; 0 again; Matched",
        "four_way: server FIN,ACK; client ACK; client FIN,ACK; server ACK; 0 again; Matched",
        "four_way: client FIN,ACK; server ACK; server FIN,ACK; client ACK; 0 again; Matched",
    ];
    for endpoint in [Endpoint::Client, Endpoint::Server] {
        assert_eq!(compare_capture("plain", endpoint), expected);
    }
}

/// In the second connection both FINs got lost at first: the server heard of the client's only
/// after it had sent its own, and the client had its ACK before it heard of the server's.
#[test]
fn with_losses_each_side_sees_another_close() {
    if !has_programs(&["tshark"]) {
        return;
    }
    let client = [
        "reset: server RST,ACK; 0 again; Matched",
        "four_way: client FIN,ACK; server ACK; server FIN,ACK; client ACK; 1 again; Wrong",
        "reset: server RST; 0 again; Misjudged",
        "three_way: server FIN,ACK; client FIN,ACK; server ACK; 1 again; Matched",
        "four_way: server FIN,ACK; client ACK; client FIN,ACK; server ACK; 6 again; Matched",
    ];
    assert_eq!(compare_capture("lossy", Endpoint::Client), client);
    let server = [
        "reset: server RST,ACK; 0 again; Matched",
        "simultaneous: server FIN,ACK; client FIN,ACK; server ACK; client ACK; 2 again; Matched",
        "reset: server FIN,ACK; server RST; 0 again; Matched",
        "three_way: server FIN,ACK; client FIN,ACK; server ACK; 1 again; Matched",
        "four_way: server FIN,ACK; client ACK; client FIN,ACK; server ACK; 0 again; Matched",
    ];
    assert_eq!(compare_capture("lossy", Endpoint::Server), server);
}

/// The ACK of the handshake got lost, and the server stopped listening before the client's FIN came
/// in its place.
#[test]
fn a_fin_after_the_listener_closed_reaches_no_socket() {
    if !has_programs(&["tshark"]) {
        return;
    }
    assert_eq!(
        compare_capture("late", Endpoint::Server),
        ["reset: client FIN,ACK; server RST; 0 again; no record, socket: false"]
    );
}

#[test]
fn a_record_of_another_connection_is_ignored() {
    if !has_programs(&["tshark"]) {
        return;
    }
    let streams = tshark::read(Path::new("tshark"), &file("plain-client.pcap")).unwrap();
    let lines = fs::read_to_string(file("plain-server.jsonl")).unwrap();
    let records: Vec<_> = lines
        .lines()
        .map(|line| Record::parse(line).unwrap().unwrap())
        .collect();
    let pairs = pair(streams, Endpoint::Client, records.clone());
    assert_eq!(pairs.strays.len(), records.len());
}

#[test]
fn a_second_record_of_an_endpoint_is_a_stray() {
    if !has_programs(&["tshark"]) {
        return;
    }
    let streams = tshark::read(Path::new("tshark"), &file("plain-client.pcap")).unwrap();
    let lines = fs::read_to_string(file("plain-client.jsonl")).unwrap();
    let first = Record::parse(lines.lines().next().unwrap())
        .unwrap()
        .unwrap();
    let pairs = pair(streams, Endpoint::Client, vec![first.clone(), first]);
    assert_eq!(pairs.strays.len(), 1);
}
