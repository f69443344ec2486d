//! The core alone, on a stream that was recorded: `cargo xtask bench` records one and names it in
//! `TCPCLOSE_RECORDING`.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "printing is what it is for"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tcpclose_bench::{Stream, clock, write_json};

fn main() {
    let stream = match Stream::from_environment() {
        Ok(stream) => stream,
        Err(reason) => return eprintln!("{reason}"),
    };
    let findings = stream.findings();
    println!(
        "{} transitions, {} findings",
        stream.transitions,
        findings.len()
    );

    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(stream.transitions));
    group.bench_function("decode_and_track", |bencher| {
        bencher.iter(|| {
            let mut tracker = stream.tracker();
            stream.run(&mut tracker, |finding| drop(black_box(finding)));
            tracker
        });
    });
    let clock = clock();
    let mut lines = Vec::new();
    group.bench_function("json", |bencher| {
        bencher.iter(|| {
            write_json(&mut lines, &findings, &clock);
            black_box(lines.len())
        });
    });
    group.finish();
    criterion.final_summary();
}
