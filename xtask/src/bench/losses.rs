//! d: what is lost at the fastest churn.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    agent::Writes,
    churn::{ClosePattern, churn_in},
    report::Row,
    testbed::Testbed,
};
use crate::command::announce;

/// Where something may be lost: the word in JSON, and what is lost there.
const LOSS_LOCATIONS: [(&str, &str); 4] = [
    ("ring", "records lost, as the ring was full"),
    ("program", "runs of a program that the kernel skipped"),
    ("table", "endpoints that a table had no room for"),
    ("decode", "records that were not understood"),
];

impl Testbed<'_> {
    /// Every finding is formatted, and written to /dev/null: a disk would be slower than what is
    /// measured.
    pub fn losses(&mut self) -> Result<()> {
        announce("d: the fastest churn");
        let threads = thread::available_parallelism().map_or(2, |cpus| cpus.get() as u8);
        let agent = self.agent(Writes::EverythingToDevNull)?;
        let churned = churn_in(self.seconds(60), ClosePattern::OneThread, threads)?;
        thread::sleep(Duration::from_secs(1));
        let reported = agent.stop()?;
        let none = |what: &str, lost: u64| {
            Row::new('d', what, "", vec![lost as f64]).demands("none", |value| value == 0.0)
        };
        let endpoints = (2 * churned.connections) as f64;
        self.rows.extend([
            Row::new(
                'd',
                format!(
                    "connections, client and server in each of {threads} threads, {:.0} s",
                    churned.seconds
                ),
                "1/s",
                vec![churned.rate()],
            ),
            Row::new(
                'd',
                "closes reported, of those that happened",
                "%",
                vec![reported.closed()? as f64 / endpoints * 100.0],
            ),
        ]);
        for (location, what) in LOSS_LOCATIONS {
            self.rows.push(none(what, reported.lost(location)?));
        }
        let unwritten = none(
            "findings that an output has not written",
            reported.unwritten()?,
        );
        self.rows.push(unwritten);
        Ok(())
    }
}
