//! The core alone, on a stream that was recorded: `cargo xtask bench` records one and names it in `TCPCLOSE_RECORDING`.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput};
use tcpclose::clock_offset::ClockOffset;
use tcpclose::output::clock::WallClock;
use tcpclose_bench::{Stream, write_json};

fn main() {
    let Some(path) = std::env::var_os("TCPCLOSE_RECORDING") else {
        eprintln!("TCPCLOSE_RECORDING names no recording: `cargo xtask bench --only e` makes one");
        return;
    };
    let stream = Stream::read(Path::new(&path));
    let findings = stream.findings();
    println!(
        "{} transitions, {} findings in {}",
        stream.transitions,
        findings.len(),
        Path::new(&path).display()
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
    let clock = WallClock::new(ClockOffset::measured());
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
