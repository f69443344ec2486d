//! The core alone, to be run under `valgrind --tool=callgrind --toggle-collect=FUNCTION`, which
//! counts the instructions of one of the two functions below. `cargo xtask bench --check` does so.
//! One JSON object says what they worked on.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "printing is what it is for"
)]

use std::hint::black_box;

use tcpclose::output::clock::WallClock;
use tcpclose_bench::{Stream, clock};
use tcpclose_core::Tracker;
use tcpclose_core::finding::Finding;

fn main() {
    let stream = match Stream::from_environment() {
        Ok(stream) => stream,
        Err(reason) => return eprintln!("{reason}"),
    };
    let findings = stream.findings();
    let mut lines = Vec::new();
    decode_and_track(&stream, &mut stream.tracker());
    write_json(&mut lines, &findings, &clock());
    println!(
        r#"{{"transitions":{},"findings":{}}}"#,
        stream.transitions,
        findings.len()
    );
}

/// From the ring buffer's bytes to findings. No part of `main`, so that it can be counted alone.
#[inline(never)]
fn decode_and_track(stream: &Stream, tracker: &mut Tracker) {
    stream.run(tracker, |finding| drop(black_box(finding)));
}

/// From findings to JSON lines.
#[inline(never)]
fn write_json(lines: &mut Vec<u8>, findings: &[Finding], clock: &WallClock) {
    tcpclose_bench::write_json(lines, findings, clock);
    black_box(lines);
}
