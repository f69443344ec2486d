//! Kept recordings, and what the program makes of each of them, byte for byte: whatever becomes of
//! the code, recordings stay readable and outputs stay as they are. `tests/data/golden/README.md`
//! says what the recordings cover.
//!
//! Nothing here knows the program's own types: the tests depend on the program, the kept files and
//! the schema alone. Where an output is meant to change, `TCPCLOSE_TEST_REWRITE=1` writes the kept
//! outputs anew; look at each difference before it is committed.

mod difference;
mod kept;
mod pair_key;
mod views;
mod words;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kept::{Kept, REWRITE, recordings};

#[test]
fn every_recording_is_reported_as_it_was() {
    let (names, next) = (recordings(), AtomicUsize::new(0));
    assert!(!names.is_empty(), "no recording is kept");
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let faults: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut faults = Vec::new();
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                faults.extend(check(name));
            }
            faults
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker does not panic"))
            .collect()
    });
    assert!(
        faults.is_empty(),
        "{}\n\nIf that is meant: {REWRITE}=1 cargo test -p tcpclose --test golden every_recording, and look at `git diff`.\n",
        faults.join("\n\n")
    );
}

/// Replays a recording in all ways. Returns what is not as it was.
fn check(name: &str) -> Vec<String> {
    let mut kept = Kept::new(name);
    let file = format!("{name}.rec");
    let findings = kept.run(&["watch", "--replay", &file, "--format", "json"]);
    kept.compare("watch.jsonl", &findings);

    for view in views::for_recording(name) {
        let args: Vec<&str> = view.args.split(' ').collect();
        let text = kept.run(&[(&*args), &["--replay", &file]].concat());
        kept.compare(view.file, &text);
    }

    // An agent reports the same findings, with summaries between them.
    let reported = kept.run(&["agent", "--config", "agent.toml", "--replay", &file]);
    let (summaries, others) = split(&reported, "summary");
    kept.compare("summaries.jsonl", &summaries);
    kept.agree(
        "agent reports other findings than watch",
        &findings,
        &others,
    );

    // What is stuck is reported the same by both commands.
    let every = views::every(name);
    let stuck = kept.run(&[
        "leaks", "--watch", every, "--format", "json", "--replay", &file,
    ]);
    let (expected, _) = split(&findings, "stuck");
    kept.agree("leaks reports other findings than watch", &expected, &stuck);
    kept.finish()
}

/// The JSON lines of a kind, and the others.
fn split(lines: &str, kind: &str) -> (String, String) {
    let start = format!("{{\"v\":1,\"kind\":\"{kind}\",");
    lines
        .split_inclusive('\n')
        .partition(|line| line.starts_with(&start))
}
