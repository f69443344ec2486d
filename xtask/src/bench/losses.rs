//! d: what is lost at the fastest churn.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    agent::Writes,
    churn::{Ends, churn_in},
    report::Row,
    testbed::Stage,
};
use crate::command::announce;

/// Where something may be lost: the word in JSON, and what it is.
const PLACES: [(&str, &str); 4] = [
    ("ring", "records lost, as the ring was full"),
    ("program", "runs of a program that the kernel skipped"),
    ("table", "ends that a table had no room for"),
    ("decode", "records that were not understood"),
];

impl Stage<'_> {
    /// Every finding is formatted, and written to nobody: a disk would be slower than what is measured.
    pub fn losses(&mut self) -> Result<()> {
        announce("d: the fastest churn");
        let threads = thread::available_parallelism().map_or(2, |cpus| cpus.get() as u8);
        let agent = self.agent(Writes::EverythingToNobody)?;
        let churned = churn_in(self.seconds(60), Ends::OneThread, threads)?;
        thread::sleep(Duration::from_secs(1));
        let reported = agent.stop()?;
        let none = |what: &str, lost: u64| {
            Row::new('d', what, "", vec![lost as f64]).demands("none", |value| value == 0.0)
        };
        let ends = (2 * churned.connections) as f64;
        self.rows.extend([
            Row::new(
                'd',
                format!(
                    "connections, both ends in each of {threads} threads, {:.0} s",
                    churned.seconds
                ),
                "1/s",
                vec![churned.rate()],
            ),
            Row::new(
                'd',
                "ends told, of those that closed",
                "%",
                vec![reported.closed()? as f64 / ends * 100.0],
            ),
        ]);
        for (place, what) in PLACES {
            self.rows.push(none(what, reported.lost(place)?));
        }
        let unwritten = none(
            "findings that an output has not written",
            reported.unwritten()?,
        );
        self.rows.push(unwritten);
        Ok(())
    }
}
