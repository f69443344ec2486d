//! c: what the daemon takes in user space, busy and idle.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    agent::Writes,
    churn::{ClosePattern, churn},
    report::Row,
    testbed::Testbed,
};
use crate::command::announce;

/// For what still waits in the rings and the queue: handling it is part of the cost.
const DRAIN_TIME: Duration = Duration::from_millis(1_500);

impl Testbed<'_> {
    /// Where nothing happens, one window after the other.
    pub fn idleness(&mut self) -> Result<()> {
        announce("c: idle");
        let mut cpu = Row::new('c', "CPU when nothing happens", "% of a core", vec![]);
        let mut wakes = Row::new('c', "wake-ups when nothing happens", "1/s", vec![]);
        let agent = self.agent(Writes::EverythingToAFile)?;
        let tracer = &agent.tracer;
        thread::sleep(Duration::from_secs(1));
        let window = self.seconds(5);
        for _ in 0..self.args.rounds() {
            let (cpu_before, wakes_before) = (tracer.cpu()?, tracer.wake_ups()?);
            thread::sleep(window);
            let seconds = window.as_secs_f64();
            cpu.values
                .push((tracer.cpu()? - cpu_before) / seconds * 100.0);
            wakes
                .values
                .push((tracer.wake_ups()? - wakes_before) as f64 / seconds);
        }
        self.rows.extend([
            cpu.demands("under 0.1", |value| value < 0.1),
            wakes.demands("under 3", |value| value < 3.0),
        ]);
        Ok(())
    }

    /// While connections churn.
    pub fn cpu(&mut self) -> Result<()> {
        let each = self.transitions_per_connection(ClosePattern::TwoThreads)?;
        let mut busy = Row::new('c', "CPU for 1 M transitions, JSON to a file", "s", vec![]);
        let mut unwritten = Row::new('c', "findings not written", "", vec![]);
        let mut resident = Row::new('c', "resident memory after the churn", "MiB", vec![]);
        for round in 1..=self.args.rounds() {
            announce(format_args!("c, round {round}"));
            let agent = self.agent(Writes::EverythingToAFile)?;
            let before = agent.tracer.cpu()?;
            let churned = churn(self.seconds(4), ClosePattern::TwoThreads)?;
            thread::sleep(DRAIN_TIME);
            let transitions = churned.connections as f64 * each;
            busy.values
                .push((agent.tracer.cpu()? - before) / transitions * 1e6);
            let mib = agent.tracer.peak_memory()? as f64 / 1_048_576.0;
            resident.values.push(mib);
            unwritten.values.push(agent.stop()?.unwritten()? as f64);
        }
        self.rows.extend([
            busy.demands("at most 1.5", |value| value <= 1.5),
            unwritten.demands("none", |value| value == 0.0),
            resident,
        ]);
        Ok(())
    }
}
