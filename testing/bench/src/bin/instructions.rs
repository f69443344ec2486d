//! The core alone, to be run under `valgrind --tool=callgrind --toggle-collect=FUNCTION`, which counts the instructions of
//! one of the two functions below. `cargo xtask bench --check` does so. One JSON object says what they worked on.

use std::hint::black_box;
use std::path::Path;

use tcpclose::clock_offset::ClockOffset;
use tcpclose::output::clock::WallClock;
use tcpclose_bench::Stream;
use tcpclose_core::Tracker;
use tcpclose_core::finding::Finding;

fn main() {
    let Some(path) = std::env::var_os("TCPCLOSE_RECORDING") else {
        eprintln!("TCPCLOSE_RECORDING names no recording: testing/bench/kept has one");
        return;
    };
    let stream = Stream::read(Path::new(&path));
    let findings = stream.findings();
    let mut lines = Vec::new();
    decode_and_track(&stream, &mut stream.tracker());
    write_json(
        &mut lines,
        &findings,
        &WallClock::new(ClockOffset::measured()),
    );
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
