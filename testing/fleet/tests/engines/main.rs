//! The queries of `dist/clickhouse` and of `docs/fleet.md` on the real engines: each has to find
//! what was planted in a simulated fleet, and nothing else.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics"
)]

mod docs;
mod engine;
mod found;
mod queries;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use tcpclose_fleet::{Options, first_of, simulate};
use tcpclose_kit::scratch::Scratch;

/// A fleet on disk.
struct Written {
    scratch: Scratch,
    truth: Value,
    /// The times of its first and after its last day, and its last day.
    from: String,
    to: String,
    last_day: String,
}

impl Written {
    fn new(seed: u64) -> Self {
        let scratch = Scratch::new();
        let begin = first_of(2, Timestamp::now()).unwrap();
        let options = Options {
            hosts: 40,
            days: 2,
            seed,
            begin,
            closes_per_host_day: 300,
            summary_minutes: 60,
        };
        simulate(&options, &scratch.path("fleet")).unwrap();
        let truth = std::fs::read(scratch.path("fleet/truth.json")).unwrap();
        let day = |days: i64| {
            let hours = jiff::SignedDuration::from_hours(24 * days);
            (begin + hours).strftime("%F").to_string()
        };
        Self {
            truth: serde_json::from_slice(&truth).unwrap(),
            from: format!("{} 00:00:00", day(0)),
            to: format!("{} 00:00:00", day(2)),
            last_day: day(1),
            scratch,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path("fleet").join(name)
    }
}

/// Shows what was found, past the test runner, which keeps what passing tests print.
fn show(line: impl std::fmt::Display) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// A file of this repository.
fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
