//! Reads inputs of the core, one JSON value a line, and prints what the core finds in them.
//!
//! ```sh
//! cargo run -p tcpclose-core --example findings < tracer-core/examples/inputs.jsonl
//! ```
//!
//! A line is an [`Input`] as serde writes it: `{"Event":{"Transition":{…}}}`,
//! `{"Time":1000000000}`. Times are nanoseconds of one monotonic clock; ids and ports that are not
//! known are 0. `inputs.jsonl` beside this file is a client that connects, closes, and waits in
//! TIME_WAIT until a poll no longer shows its minisocket.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::io::{self, BufRead as _};

use tcpclose_core::finding::Finding;
use tcpclose_core::{Input, Tracker};

fn main() -> Result<(), Box<dyn Error>> {
    let mut tracker = Tracker::new(65_536);
    for (number, line) in (1..).zip(io::stdin().lock().lines()) {
        let input: Input =
            serde_json::from_str(&line?).map_err(|error| format!("line {number}: {error}"))?;
        tracker.apply(&input);
        while let Some(finding) = tracker.next_finding() {
            print(&finding);
        }
    }
    Ok(())
}

fn print(finding: &Finding) {
    let at = finding.at().0 as f64 / 1e9;
    match finding {
        Finding::Close(close) => {
            let tuple = &close.endpoint.tuple;
            let (local, peer) = (tuple.local(), tuple.peer());
            let (path, initiator) = (close.path, close.initiator);
            println!("{at:.3} {local} > {peer} closed: {path}, begun by {initiator}");
            for step in &close.steps {
                println!("    {:5} {}", step.from, step.flags);
            }
        }
        Finding::TimeWait(time_wait) => {
            let tuple = &time_wait.endpoint.tuple;
            let (local, peer) = (tuple.local(), tuple.peer());
            let (dwell, end) = (time_wait.dwell.0 as f64 / 1e9, time_wait.end);
            println!("{at:.3} {local} > {peer} left TIME_WAIT after {dwell:.3} s: {end}");
        }
        Finding::Stuck(stuck) => {
            let tuple = &stuck.endpoint.tuple;
            let (local, peer) = (tuple.local(), tuple.peer());
            println!("{at:.3} {local} > {peer} is stuck");
        }
        Finding::Loss(loss) => println!("{at:.3} {} lost: {}", loss.lost, loss.location),
    }
}
